"""``prune``: drop old generations, their roots first, and then what only they needed.

What a Nix store's generations needed is left to Nix's own garbage collector, which alone knows what
else refers to it. Any other destination is swept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.planning.fitting import Fit, fit
from mirror.planning.retention import Selection, select

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime, timedelta

    from mirror.destinations import Destination, Generation
    from mirror.destinations.capabilities import Swept
    from mirror.errors import DestinationError
    from mirror.formats.store_path import StorePath
    from mirror.planning.retention import Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class Collectable:
    """What a Nix store's dropped generations alone kept: so many paths, the bytes of their NARs."""

    paths: int
    nar_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was done, or would be: of a cache directory it was ``swept``, of a Nix store not.

    ``fit`` is how what is kept compares with the size that it may have, if there is a limit.
    """

    selection: Selection[Generation]
    fit: Fit | None = None
    swept: Swept | None = None
    collectable: Collectable | None = None


async def prune(
    destination: Destination,
    retention: Retention,
    *,
    listed: Collection[str] | None,
    removed: bool,
    grace: timedelta,
    now: datetime,
    dry_run: bool,
    is_served: bool = False,
    max_size: int | None = None,
) -> Pruned:
    """Drop the generations that ``retention`` does not keep; change nothing if ``dry_run``.

    Of what it keeps, the oldest go too until the rest takes at most ``max_size`` bytes. With
    ``listed``, the names of targets, others stay as they are, or go whole if ``removed``. A cache
    directory's lock is held, unless ``dry_run``; what a server may still be asked for goes after
    ``grace``, and ``is_served`` says that there is one, also where none can be seen. Without
    ``listed``, no run record goes.

    Raises:
        DestinationError: the destination cannot be used, or a generation is another user's.

    """
    selection = select(
        await destination.generations(), retention, now=now, listed=listed, removed=removed
    )
    fitted = None
    if max_size is not None:
        sizes = await destination.sizes(_paths(selection.kept))
        selection, fitted = fit(selection, sizes, limit=max_size)
    sweeping = destination.sweeping
    if sweeping is None:
        collectable = await _collectable(destination, selection)
        if not dry_run:
            await _forget(destination, selection)
            if listed is not None:
                await _forget_records(destination, {*_targets(selection), *listed})
        return Pruned(selection=selection, fit=fitted, collectable=collectable)
    if listed is None:
        # Only lists tell of which targets nobody wants to know any more.
        listed = {each.target for each in await destination.run_records()}
    was_anything_kept = bool(selection.kept or selection.dropped)
    if not dry_run:
        await _forget(destination, selection)
    swept = await sweeping.sweep(
        _paths(selection.kept) if was_anything_kept else None,
        targets={*_targets(selection), *listed},
        now=now,
        grace=grace,
        is_served=is_served,
        dry_run=dry_run,
    )
    return Pruned(selection=selection, fit=fitted, swept=swept)


async def _forget(destination: Destination, selection: Selection[Generation]) -> None:
    for generation in selection.dropped:
        await destination.forget(generation)


async def _forget_records(destination: Destination, targets: Collection[str]) -> None:
    """Remove the records of all other targets; where there is a sweep, they go with that."""
    unreadable: list[DestinationError] = []
    names = {each.target for each in await destination.receipts(unreadable.append)}
    names |= {each.target for each in await destination.run_records(unreadable.append)}
    for name in names.difference(targets):
        await destination.forget_records(name)


def _targets(selection: Selection[Generation]) -> set[str]:
    return {each.target for each in selection.kept}


async def _collectable(destination: Destination, selection: Selection[Generation]) -> Collectable:
    """The paths that no remaining generation has."""
    only_theirs = _paths(selection.dropped) - _paths(selection.kept)
    held = await destination.held(only_theirs)
    return Collectable(paths=len(held), nar_bytes=sum(info.nar_size for info in held.values()))


def _paths(generations: Sequence[Generation]) -> set[StorePath]:
    return {path for each in generations for path in each.paths}
