"""A rehearsal's scratch store: what one generation keeps, verified on its way, and nothing else."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from mirror.destinations import NixStore
from mirror.errors import IntegrityError, SourceError
from mirror.nix.protocol import daemon
from mirror.nix.stores import open_store
from mirror.planning.graph import in_order
from mirror.sources import Wanted
from mirror.sync.asking import Item
from mirror.sync.engine import obtain
from mirror.sync.kept.kept_source import Kept

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mirror.destinations import Destination, Generation
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation
    from mirror.sync.report import Observer

_JOBS: Final = 8
_SHOWN: Final = 8


async def fill(
    store: StoreLocation,
    generation: Generation,
    destination: Destination,
    *,
    nix: Nix,
    observer: Observer,
) -> None:
    """Make an empty store, copy the generation there, root it, and collect the garbage.

    Raises:
        IntegrityError: the destination lacks what the generation keeps, or that is damaged.
        SourceError: garbage cannot be collected, or what was kept was collected with it.

    """
    observer.step(f"copying {len(generation.paths)} kept paths of {generation.target}")
    references = await _kept(generation.paths, destination)
    await open_store(nix, store)
    source = Kept(destination)
    async with NixStore.open(nix, store) as scratch:
        outcomes = await obtain(
            [
                Item(wanted=Wanted(path=path), sources=[source], is_local=True)
                for path in in_order(generation.paths, references.__getitem__)
            ],
            scratch,
            observer,
            present=(),
            jobs=_JOBS,
            keep_going=True,
        )
        damaged = [
            f"{path}\n    {attempt.error}"
            for path, outcome in outcomes.items()
            if outcome.result == "failed"
            for attempt in outcome.attempts
            if attempt.source == source.name
        ]
        if damaged:
            raise _damage(destination, damaged)
        await scratch.keep(generation)
    observer.step("collecting garbage")
    await _collect_garbage(store, generation.paths, nix)


async def _kept(
    paths: Collection[StorePath], destination: Destination
) -> Mapping[StorePath, tuple[StorePath, ...]]:
    """Check that the destination has the paths; returns the references of each."""
    found = await destination.look_up(paths)
    if damaged := [
        f"{path}\n    {each.flaw.file}: {each.flaw.problem}"
        for path, each in sorted(found.items())
        if each.flaw is not None
    ]:
        raise _damage(destination, damaged)
    if lost := [path for path in paths if path not in found]:
        raise IntegrityError(
            f"{destination.name} does not have what it keeps:\n{_listed(lost)}",
            hint="sync it again: what is lost is fetched again",
        )
    return {path: each.info.references for path, each in found.items() if each.info is not None}


async def _collect_garbage(store: StoreLocation, paths: Collection[StorePath], nix: Nix) -> None:
    # No connection is open, so that nothing but the generation's root protects anything.
    collected = await nix.run(["nix-store", "--gc", "--store", store.url])
    if collected.returncode != 0:
        raise SourceError(f"Nix could not collect garbage:\n{collected.last_words}")
    async with daemon.connect(nix, store) as connection:
        valid = await connection.query_valid_paths(paths)
    if lost := [path for path in paths if path not in valid]:
        raise SourceError(f"these were kept, and were collected nevertheless:\n{_listed(lost)}")


def _damage(destination: Destination, damaged: Sequence[str]) -> IntegrityError:
    named = [] if destination.name == "auto" else [destination.name]
    command = shlex.join(["prefetch", "verify", *named, "--repair"])
    return IntegrityError(
        f"what {destination.name} keeps is damaged:\n{_listed(damaged)}",
        hint=f"{command} has it again, from whoever still has it",
    )


def _listed(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    return "\n".join(f"  {line}" for line in [*lines[:_SHOWN], *more])
