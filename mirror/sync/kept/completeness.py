"""Whether what generations keep is still there, as it was when they were made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.destinations.closures import presence
from mirror.destinations.records.privacy import holdings, private_paths

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mirror.destinations import Destination, Generation
    from mirror.formats.store_path import StorePath


async def as_they_are(
    generations: Sequence[Generation], destination: Destination
) -> list[Generation]:
    """All generations of the destination, with what is missing of them now.

    Raises:
        DestinationError: the destination cannot be looked at.

    """
    found = await missing_now(
        {(each.target, each.number): each.paths for each in generations},
        destination,
        private=private_paths(holdings(generations)),
    )
    return [
        replace(
            each,
            missing=tuple(sorted({*each.missing, *found[each.target, each.number]})),
        )
        for each in generations
    ]


async def missing_now(
    kept: Mapping[tuple[str, int], Iterable[StorePath]],
    destination: Destination,
    *,
    private: Collection[StorePath],
) -> dict[tuple[str, int], tuple[StorePath, ...]]:
    """What is not there any more of the ``kept`` paths of generations, by target and number.

    Of what is ``private``, a user who may not read it is told only whether it has its name.

    Raises:
        DestinationError: the destination cannot be looked at.

    """
    hidden = frozenset(await destination.hidden(private))
    paths = {path for paths in kept.values() for path in paths}
    there = hidden | (await presence(destination, paths - hidden)).there
    return {key: tuple(path for path in paths if path not in there) for key, paths in kept.items()}
