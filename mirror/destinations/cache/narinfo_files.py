"""The narinfo files of a cache directory: what there is, what each leads to, what goes first.

Blocking, for use off the event loop.
"""

from __future__ import annotations

import contextlib
import graphlib
import os
import posixpath
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mirror.destinations import files
from mirror.destinations.cache.layout import NARINFO
from mirror.errors import DestinationError, FormatError
from mirror.formats.narinfo import parse_narinfo

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mirror.formats.narinfo import NarInfo
    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class NarinfoFile:
    """A narinfo file, of ``size`` bytes and changed at ``modified`` (UTC).

    ``narinfo`` is None where it cannot be read: it then names no NAR and refers to nothing.
    """

    file: Path
    size: int
    modified: datetime
    narinfo: NarInfo | None

    @property
    def hash_part(self) -> str:
        """The hash part of its path."""
        return self.file.name.partition(".")[0]

    @property
    def label(self) -> str:
        """Its path, or its file's name if it cannot be read."""
        return self.file.name if self.narinfo is None else self.narinfo.info.path

    @property
    def url(self) -> str | None:
        """The file of its NAR, relative to the cache: ``nar/…``."""
        return None if self.narinfo is None else posixpath.normpath(self.narinfo.url)

    @property
    def references(self) -> set[str]:
        """The hash parts of the other paths that it refers to."""
        if self.narinfo is None:
            return set()
        return {path.hash_part for path in self.narinfo.info.references} - {self.hash_part}


def narinfo_files(directory: Path) -> dict[str, NarinfoFile]:
    """The narinfo files of a directory, by hash part, in order.

    Raises:
        OSError: one cannot be read, or is larger than any that is written here.

    """
    found = {}
    for each in plain_files(directory, NARINFO):
        file = directory / each.name
        narinfo = None
        with contextlib.suppress(FormatError):
            narinfo = parse_narinfo(files.read_plain_file(file))
        entry = NarinfoFile(file=file, size=size_of(each), modified=modified(each), narinfo=narinfo)
        found[entry.hash_part] = entry
    return found


def file_sizes(directory: Path, paths: Iterable[StorePath]) -> dict[StorePath, Mapping[str, int]]:
    """Of each path that is there its narinfo and its NAR, by file, with their sizes in bytes.

    Raises:
        OSError: one cannot be read.

    """
    found: dict[StorePath, Mapping[str, int]] = {}
    for path in paths:
        name = f"{path.hash_part}.narinfo"
        with contextlib.suppress(FileNotFoundError):
            data = files.read_plain_file(directory / name)
            sizes = found[path] = {name: len(data)}
            with contextlib.suppress(FormatError):
                url = posixpath.normpath(parse_narinfo(data).url)
                sizes[url] = (directory / url).stat().st_size
    return found


def closure(paths: Iterable[StorePath], published: Mapping[str, NarinfoFile]) -> set[str]:
    """The hash parts of ``paths``, and of all that they refer to."""
    found: set[str] = set()
    unread = {path.hash_part for path in paths}
    while unread:
        found |= unread
        parts = unread & published.keys()
        unread = {each for part in parts for each in published[part].references} - found
    return found


def referrers_first(entries: Mapping[str, NarinfoFile]) -> list[NarinfoFile]:
    """Put each before those that it refers to.

    Raises:
        DestinationError: some refer to each other, which no store path can.

    """
    sorter = graphlib.TopologicalSorter[str](dict.fromkeys(entries, ()))
    for part, entry in entries.items():
        for reference in sorted(entry.references & entries.keys()):
            sorter.add(reference, part)
    try:
        return [entries[part] for part in sorter.static_order()]
    except graphlib.CycleError as error:
        names = " and ".join(str(entries[part].file) for part in error.args[1][:2])
        raise DestinationError(
            f"{names} refer to each other", hint="remove them: store paths cannot form a cycle"
        ) from error


def plain_files(directory: Path, pattern: re.Pattern[str]) -> list[os.DirEntry[str]]:
    """The plain files of a directory, which need not be there, that are called so; sorted."""
    return [each for each in _called(directory, pattern) if each.is_file(follow_symlinks=False)]


def linked_nars(directory: Path) -> set[str]:
    """The files of NARs that narinfos name which are links: readers follow these."""
    found = set()
    for each in _called(directory, NARINFO):
        if each.is_symlink():
            with contextlib.suppress(OSError, FormatError):
                narinfo = parse_narinfo(files.read_plain_file(directory / each.name))
                found.add(posixpath.normpath(narinfo.url))
    return found


def _called(directory: Path, pattern: re.Pattern[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            found = [each for each in entries if pattern.fullmatch(each.name)]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda each: each.name)


def size_of(file: os.DirEntry[str]) -> int:
    """Its size in bytes."""
    return file.stat(follow_symlinks=False).st_size


def modified(file: os.DirEntry[str]) -> datetime:
    """When it was changed, in UTC."""
    return datetime.fromtimestamp(file.stat(follow_symlinks=False).st_mtime, UTC)
