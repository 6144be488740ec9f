"""A cache directory as it is served.

A narinfo is read when it is asked for, and a NAR is sent as the file that it is. A NAR's file is
sent only if some narinfo names it and it has the size that this narinfo says: a file that was cut
short is an error, never a shorter answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.cache.layout import (
    NARINFO_SUFFIX,
    NARS,
    RETIRED,
    nar_file,
    narinfo_name,
)
from mirror.destinations.cache.opening import refuse_other_directories
from mirror.destinations.cache.signatures import read_public_keys
from mirror.errors import FormatError
from mirror.formats.compression import decompressor
from mirror.formats.narinfo import parse_narinfo
from mirror.nix.file_tree import file_contents
from mirror.serve.http.answers import MISSING, Answer, InFile, Refusal
from mirror.serve.library.given import Given
from mirror.serve.library.leases import LEASE_SECONDS
from mirror.serve.library.narinfos import (
    Narinfos,
    named_file,
    narinfo_answer,
    read_narinfo,
)
from mirror.serve.library.retired import Retired
from mirror.serve.library.serving_lock import Presence
from mirror.serve.library.watching import state_of
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from mirror.destinations import Destination
    from mirror.formats.narinfo import NarInfo
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.serve.library.narinfos import GivenNarinfo

NAR_TYPE: Final = "application/x-nix-nar"
_DAMAGED: Final = Refusal(
    HTTPStatus.NOT_FOUND, "its NAR is missing here, or damaged", is_notable=True
)


class CacheLibrary:
    """A cache directory; :meth:`open` makes one."""

    def __init__(
        self, destination: Destination, directory: Path, retired: Retired, presence: Presence
    ) -> None:
        self.destination = destination
        self._path = directory
        self._nars = f"{directory}/{NARS}"
        self._narinfos = Narinfos(directory)
        self._given = Given(destination, is_eager=False)
        self._files = _NarFiles((self._path, self._path / RETIRED))
        self._retired = retired
        self._presence = presence
        self._scanning = asyncio.Lock()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, destination: Destination, directory: Path, *, lease_seconds: float = LEASE_SECONDS
    ) -> AsyncIterator[CacheLibrary]:
        """Serve a destination that is in ``directory``, and let whoever prunes it know meanwhile.

        It may yet have to be made. ``lease_seconds`` is how long an answer can be followed up after
        its path was pruned.

        Raises:
            DestinationError: it is something else, or cannot be read.

        """
        await in_thread(refuse_other_directories, directory)
        retired = Retired(directory, lease_seconds)
        async with Presence.in_directory(directory, meanwhile=retired.look) as presence:
            library = cls(destination, directory, retired, presence)
            await library._scan()
            yield library

    def absence(self) -> str | None:
        """Why the directory cannot be served now, None if it can: its disk may be unmounted."""
        return self._presence.absence()

    async def file_bytes(self) -> int:
        """The size of all NARs, as they are compressed."""
        await self._scan()
        return sum(size or 0 for size in self._files.sizes.values())

    async def public_keys(self) -> tuple[str, ...]:
        """The keys that signed here."""
        return tuple(map(str, await asyncio.to_thread(read_public_keys, self._path)))

    async def infos(self, paths: Collection[StorePath]) -> Collection[PathInfo]:
        """What the narinfos say; those that cannot be read are left out."""
        return await in_thread(self._infos, paths)

    async def signatures_state(self) -> int:
        """The state of the directory of the narinfos."""
        return await asyncio.to_thread(state_of, self._path)

    async def narinfo(self, hash_part: str) -> Answer | Refusal:
        """The narinfo, also a retired one that a client may still ask for.

        One whose NAR is damaged is not given: its client then asks its other caches. Led to a file
        that it cannot have, Nix would take the whole cache for broken, and an old one would crash.
        """
        if await self._given.is_private(hash_part):
            return MISSING
        found = self._narinfos.find(hash_part)
        if found is None:
            retired = await self._retired.find(hash_part)
            if retired is not None:
                return narinfo_answer(retired)
            # It may have been published anew in between.
            live = self._narinfos.find(hash_part)
            return MISSING if live is None else live.answer
        if not self._has_its_file(found):
            return _DAMAGED
        return found.answer

    async def nar(self, name: str) -> Answer | Refusal:
        """A NAR's file, as upstream compressed it."""
        if name not in self._files.sizes:
            await self._scan()
        if name not in self._files.sizes:
            return MISSING
        body = InFile(self._path / NARS / name, self._files.sizes[name])
        return Answer(body=body, content_type=NAR_TYPE, tag=name, is_lasting=True)

    async def _scan(self) -> None:
        """Look what files the narinfos name now."""
        async with self._scanning:
            await in_thread(self._files.scan)

    def _infos(self, paths: Collection[StorePath]) -> list[PathInfo]:
        found = []
        for path in paths:
            data = read_narinfo(f"{self._path}/{narinfo_name(path)}")
            with contextlib.suppress(FormatError):
                if data is not None and (info := parse_narinfo(data).info).path == path:
                    found.append(info)
        return found

    def _has_its_file(self, narinfo: GivenNarinfo) -> bool:
        """Whether the NAR is there and of the right size."""
        if narinfo.nar is None:
            return False
        try:
            status = os.stat(f"{self._nars}/{narinfo.nar}", follow_symlinks=False)  # noqa: PTH116
        except (OSError, ValueError):  # such as a null byte
            return False
        return narinfo.nar_size is None or narinfo.nar_size == status.st_size

    async def unpacked(self, path: StorePath) -> Callable[[], Iterator[bytes]] | None:
        """A function that decompresses the path's NAR."""
        if await self._given.is_private(path.hash_part):
            return None
        data = read_narinfo(f"{self._path}/{narinfo_name(path)}")
        try:
            entry = parse_narinfo(data) if data is not None else None
        except FormatError:
            return None
        return partial(_unpack, self._path, entry) if entry is not None else None


class _NarFiles:
    """The files that narinfos name, by what their URL has after ``nar/``; blocking.

    ``sizes`` are in bytes, None where the narinfo does not say. Scanned anew, it has what is named
    now: also by those narinfos that are retired.
    """

    def __init__(self, directories: Iterable[Path]) -> None:
        self.sizes: Mapping[str, int | None] = {}
        self._directories = tuple(directories)
        self._states: tuple[int, ...] = ()
        self._named: Mapping[int, str] = {}
        """What each narinfo names, by :func:`_identity`: of a large cache there are many."""

    def scan(self) -> None:
        """Read the narinfos that have come or changed since the last time.

        Raises:
            DestinationError: they cannot be listed.

        """
        states = tuple(state_of(directory) for directory in self._directories)
        if states == self._states:
            return
        named: dict[int, str] = {}
        sizes: dict[str, int | None] = {}
        for directory in self._directories:
            missing = contextlib.suppress(FileNotFoundError)
            with files.explained(directory), missing, os.scandir(directory) as entries:
                for entry in entries:
                    if entry.name.endswith(NARINFO_SUFFIX):
                        with contextlib.suppress(OSError, FormatError):
                            self._add(entry, named, sizes)
        self._named = named
        self.sizes = sizes
        self._states = states

    def _add(
        self, entry: os.DirEntry[str], named: dict[int, str], sizes: dict[str, int | None]
    ) -> None:
        identity = _identity(entry.stat(follow_symlinks=False))
        name = self._named.get(identity)
        if name is None:
            name, size = named_file(read_narinfo(entry.path) or b"")
            sizes[name] = size
        else:
            sizes.setdefault(name, self.sizes[name])
        named[identity] = name


def _identity(status: os.stat_result) -> int:
    """A number that differs for another file, and after a change to the file."""
    return ((status.st_dev << 64) | status.st_ino) << 64 | status.st_mtime_ns


def _unpack(directory: Path, entry: NarInfo) -> Iterator[bytes]:
    file = directory / nar_file(entry)
    if not stat.S_ISREG(file.lstat().st_mode):
        raise FormatError(f"{file} is not a plain file")
    stream = decompressor(entry.compression)
    for chunk in file_contents(file):
        yield from stream.feed(chunk)
    stream.finish()
