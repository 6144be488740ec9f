"""Whether what generations keep is there now: it was when they were made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.destinations.presence import presence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mirror.destinations import Destination, Generation
    from mirror.formats.store_path import StorePath


async def as_they_are(
    generations: Sequence[Generation], destination: Destination
) -> list[Generation]:
    """The generations, with all that is missing of them now.

    Raises:
        DestinationError: the destination cannot be looked at.

    """
    found = await missing_now(
        {(each.target, each.number): each.paths for each in generations}, destination
    )
    return [
        replace(
            each,
            missing=tuple(sorted({*each.missing, *found[each.target, each.number]})),
        )
        for each in generations
    ]


async def missing_now(
    kept: Mapping[tuple[str, int], Iterable[StorePath]], destination: Destination
) -> dict[tuple[str, int], tuple[StorePath, ...]]:
    """What is not there any more of the ``kept`` paths of generations, by target and number."""
    found = await presence(destination, {path for paths in kept.values() for path in paths})
    return {
        key: tuple(path for path in paths if path not in found.there) for key, paths in kept.items()
    }
