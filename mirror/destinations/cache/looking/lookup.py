"""Looking up many paths of a cache directory, with as few readings as that takes."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.cache.layout import NARS, narinfo_name
from mirror.destinations.cache.looking.inspection import Unread
from mirror.planning.presence import Flaw, Found, whole
from mirror.system.allocation import without_collections
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from mirror.destinations.cache.looking.contents import Contents
    from mirror.destinations.cache.looking.inspection import Inspection
    from mirror.formats.store_path import StorePath

_MANY: Final = 1_000
_READINGS: Final = 3
"""How often a NAR is read whose file changes meanwhile."""


class Lookup:
    """Looks paths of the cache ``directory`` up.

    ``reads_contents``: the NARs are read whose content is not known.
    """

    def __init__(
        self, directory: Path, inspection: Inspection, contents: Contents, *, reads_contents: bool
    ) -> None:
        self._directory = directory
        self._inspection = inspection
        self._contents = contents
        self._reads_contents = reads_contents
        self._known: set[StorePath] = set()
        """What was seen to be there by whoever holds the directory's lock."""

    def note(self, path: StorePath) -> None:
        """Remember that a path is there."""
        self._known.add(path)

    async def look_up(self, paths: Collection[StorePath]) -> Mapping[StorePath, Found]:
        """What there is of ``paths``; where NARs have to be read for that, they are.

        Raises:
            DestinationError: the directory cannot be looked at.

        """
        found, unread = await in_thread(self._look_up, paths, reads=self._reads_contents)
        for _ in range(_READINGS if unread else 0):
            for name in sorted({each.name for each in unread.values()}):
                await in_thread(self._contents.read, name)
            known, unread = await in_thread(
                self._look_up, unread.keys(), reads=self._reads_contents
            )
            found |= known
            if not unread:
                break
        for path, each in unread.items():
            problem = "it changes while it is read"
            flaw = Flaw(file=f"{NARS}/{each.name}", problem=problem, is_fatal=True)
            found[path] = Found(flaw=flaw)
        return found

    def missing(self, paths: Collection[StorePath], *, or_damaged: bool) -> set[StorePath]:
        """Those of ``paths`` that are not there; ``or_damaged``: it suffices to be there damaged.

        Raises:
            DestinationError: the directory cannot be looked at.

        """
        unknown = set(paths) - self._known
        found, unread = self._look_up(unknown, reads=False)
        there = whole(found).keys() | unread.keys()
        if or_damaged:
            # What refers to something that stays damaged is mended all the same.
            there |= {path for path, each in found.items() if each.info is not None}
        return unknown - there

    def _look_up(
        self, paths: Collection[StorePath], *, reads: bool
    ) -> tuple[dict[StorePath, Found], dict[StorePath, Unread]]:
        """What there is of ``paths``, and those of them whose NARs have to be read first."""
        is_much = len(paths) > _MANY
        found: dict[StorePath, Found] = {}
        unread: dict[StorePath, Unread] = {}
        with (
            files.explained(self._directory),
            without_collections() if is_much else contextlib.nullcontext(),
        ):
            if is_much:
                # Most of a graph may well be absent, which the directory's listing says at once.
                names = set(os.listdir(self._directory)) if self._directory.is_dir() else set()  # noqa: PTH208 - names alone
                paths = [path for path in paths if narinfo_name(path) in names]
            self._inspection.refresh()
            for path in paths:
                looked = self._inspection.look(path, reads=reads)
                if isinstance(looked, Unread):
                    unread[path] = looked
                elif looked is not None:
                    found[path] = looked
        self._known.update(whole(found))
        return found, unread
