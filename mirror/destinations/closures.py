"""Looking at a destination for the closures of some paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mirror.planning.presence import Presence, presence_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.planning.presence import Found


class Shelf(Protocol):
    """A destination, or known facts about one."""

    async def look_up(self, paths: Collection[StorePath]) -> Mapping[StorePath, Found]:
        """As :meth:`.Destination.look_up`."""
        ...


async def presence(destination: Shelf, paths: Iterable[StorePath]) -> Presence:
    """Look which of ``paths`` are there, with everything that they refer to.

    Raises:
        DestinationError: the destination cannot be looked at.

    """
    found: dict[StorePath, Found] = {}
    absent: set[StorePath] = set()
    unknown = set(paths)
    while unknown:
        looked = await destination.look_up(unknown)
        found.update(looked)
        absent |= unknown - looked.keys()
        references = {
            reference
            for each in looked.values()
            if each.info is not None and each.flaw is None
            for reference in each.info.references
        }
        unknown = references - found.keys() - absent
    return presence_of(found, absent)


async def known(destination: Shelf, paths: Collection[StorePath]) -> dict[StorePath, PathInfo]:
    """What is known of those of ``paths`` that the destination has, be their content damaged.

    Raises:
        DestinationError: the destination cannot be looked at.

    """
    found = await destination.look_up(paths)
    return {path: each.info for path, each in found.items() if each.info is not None}
