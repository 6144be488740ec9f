"""Closures of paths under references, by any function that looks references up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath


async def closure(
    paths: Iterable[StorePath],
    look_up: Callable[[set[StorePath]], Awaitable[Mapping[StorePath, PathInfo]]],
) -> dict[StorePath, PathInfo]:
    """Look up ``paths``, then what those refer to, and so on: each path once, many at a time.

    What ``look_up`` does not give leads no further.
    """
    known: dict[StorePath, PathInfo] = {}
    asked: set[StorePath] = set()
    unread = set(paths)
    while unread:
        asked |= unread
        found = await look_up(unread)
        known |= found
        unread = {each for info in found.values() for each in info.references} - asked
    return known
