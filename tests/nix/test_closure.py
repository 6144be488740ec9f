"""The closure of paths, of answers made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rig.made_graphs import info, store_path

from mirror.nix.closure import closure

if TYPE_CHECKING:
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath

TOP, LIBRARY, BASE, UNKNOWN = map(store_path, ("top", "library", "base", "unknown"))
INFOS = {
    TOP: info(TOP, [TOP, LIBRARY, BASE, UNKNOWN]),
    LIBRARY: info(LIBRARY, [BASE, UNKNOWN]),
    BASE: info(BASE, [BASE]),
}


async def test_each_path_is_asked_for_once_and_what_is_unknown_leads_no_further() -> None:
    asked: list[StorePath] = []

    async def look_up(paths: set[StorePath]) -> dict[StorePath, PathInfo]:
        asked.extend(paths)
        return {path: INFOS[path] for path in paths if path in INFOS}

    assert await closure([TOP], look_up) == INFOS
    assert sorted(asked) == sorted([TOP, LIBRARY, BASE, UNKNOWN])


async def test_nothing_needs_no_question() -> None:
    async def look_up(paths: set[StorePath]) -> dict[StorePath, PathInfo]:
        raise AssertionError(paths)

    assert await closure([], look_up) == {}
