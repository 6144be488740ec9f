"""What an evaluation takes from a Nix store, found by listening to what it asks of the store.

Nix runs against a socket that hands everything on to the store and reads along. Whatever puts a
source into the store or takes one from it (a flake's inputs, ``builtins.fetchTarball``,
``fetchGit``, ``fetchurl``, ``path``, ``storePath``) names its store path in the worker protocol, in
every version alike, and so does an import from derivation the derivation that it has built. Files
that impure evaluation merely opens below ``/nix/store`` are not seen: see
:mod:`mirror.nix.evaluation.file_inputs`.

The protocol is not taken apart: each string of it comes with its length in front, so a string that
is exactly a store path is told from one within a text, and a version to come is understood, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import struct
import tempfile
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError, ToolError
from mirror.formats.store_path import StorePath
from mirror.nix.protocol.daemon import open_channel
from mirror.nix.stores import StoreLocation
from mirror.system.temporaries import temporary_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from mirror.nix.command import Nix

_NAMED: Final = re.compile(
    rb"(/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-[A-Za-z0-9+\-._?=]{1,211})(![A-Za-z0-9+\-._?=*,]+)?"
)
_UNIT: Final = struct.Struct("<Q")
_LONGEST: Final = 1024
"""More than any such string has, with its length."""
_READ_SIZE: Final = 1 << 18
_FAREWELL_SECONDS: Final = 5.0
_LONGEST_PLACE: Final = 80
_SHORT_PLACE: Final = "/tmp"  # noqa: S108 - what is made there has a name of its own
"""A socket's name has 107 bytes at most, and that of its directory is to come."""
_BUILDING: Final = frozenset({9, 10, 36, 40, 46})
"""BuildPaths, EnsurePath, BuildDerivation, QueryMissing, BuildPathsWithResults: the answers tell of
all that is built and substituted on the way."""

_IMPORTING: Final = frozenset({39, 44})
"""AddToStoreNar and AddMultipleToStore, which name what they bring, as the answers of others do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What an evaluation asked the store for.

    ``paths`` are no derivations: sources, and outputs that it read; not all need be valid.
    ``built`` are the derivations whose outputs it needed: those of import from derivation.
    """

    paths: frozenset[StorePath] = frozenset()
    built: frozenset[StorePath] = frozenset()


@dataclass(slots=True)
class Recording:
    """What has been asked so far of ``store``, which has to be given to Nix."""

    store: StoreLocation
    _asked: set[StorePath] = field(default_factory=set)
    _added: set[StorePath] = field(default_factory=set)
    _built: set[StorePath] = field(default_factory=set)

    @property
    def touched(self) -> Touched:
        """What was asked for so far. Looks at the store's files."""
        paths = self._asked | self._added
        archives = {path for path in self._added - self._asked if self._is_archive(path, paths)}
        return Touched(paths=frozenset(paths - archives), built=frozenset(self._built))

    def note(self, path: StorePath, *, is_asked: bool, outputs: bool) -> None:
        """Take down that ``path`` was named, or the outputs of the derivation that it is."""
        if not path.is_derivation:
            (self._asked if is_asked else self._added).add(path)
        elif outputs:
            self._built.add(path)

    def _is_archive(self, path: StorePath, paths: Collection[StorePath]) -> bool:
        """Whether it is what an older Nix downloads, unpacks under the same name, and forgets."""
        trees = [each for each in paths if each.name == path.name and each != path]
        return any(self.store.real(tree).is_dir() for tree in trees) and (
            self.store.real(path).is_file()
        )


def _place() -> Path | None:
    """Where the socket's directory goes: not into one whose name is too long for a socket's."""
    usual = tempfile.gettempdir()
    return None if len(os.fsencode(usual)) <= _LONGEST_PLACE else Path(_SHORT_PLACE)


@contextlib.asynccontextmanager
async def recording(
    nix: Nix, store: StoreLocation, *, buildable: Collection[StorePath] | None = None
) -> AsyncIterator[Recording]:
    """Listen to what Nix asks of ``store`` by way of the recording's own ``store``.

    With ``buildable``, only these derivations may be built: Nix is cut off as it asks for another,
    which is then among what was ``built``.

    Raises:
        ToolError: the store cannot be opened (raised by the first that asks it something).

    """
    with temporary_directory(_place()) as directory:
        socket = directory / "socket"
        root = "" if store.root == Path("/") else f"?root={urllib.parse.quote(str(store.root))}"
        recorded = Recording(StoreLocation(f"unix://{socket}{root}", store.root))
        conversations: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(
                _Conversation(recorded, buildable).carry(nix, store, reader, writer)
            )
            conversations.add(task)
            task.add_done_callback(conversations.discard)

        server = await asyncio.start_unix_server(accept, path=socket)
        try:
            yield recorded
        finally:
            server.close()
            # Where Nix has ended, so does each conversation, in order.
            if conversations:
                await asyncio.wait(conversations, timeout=_FAREWELL_SECONDS)
            for task in conversations:
                task.cancel()
            await asyncio.gather(*conversations, return_exceptions=True)


class _Conversation:
    """One connection of Nix to the store."""

    def __init__(self, recorded: Recording, buildable: Collection[StorePath] | None) -> None:
        self._recorded = recorded
        self._buildable = buildable
        self._operation = 0
        self._answering = True

    async def carry(
        self,
        nix: Nix,
        store: StoreLocation,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            async with open_channel(nix, store) as channel, asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, channel.writer, is_request=True))
                group.create_task(self._pass(channel.reader, writer, is_request=False))
        except* (ConnectionError, ToolError):
            pass  # Nix sees that nobody answers, and says so
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_request: bool
    ) -> None:
        rest = b""
        while data := await reader.read(_READ_SIZE):
            if is_request and self._answering:
                self._operation = int.from_bytes(data[: _UNIT.size], "little")
                rest = b""
            self._answering = not is_request
            if is_request or self._operation not in _BUILDING:
                rest += data
                self._note(rest, is_request=is_request)
                rest = rest[-_LONGEST:]
            writer.write(data)
            await writer.drain()
        writer.close()

    def _note(self, data: bytes, *, is_request: bool) -> None:
        for match in _NAMED.finditer(data):
            start, end = match.span()
            if start < _UNIT.size:
                continue
            (length,) = _UNIT.unpack_from(data, start - _UNIT.size)
            if length != end - start:
                continue
            try:
                path = StorePath.parse(match[1].decode())
            except FormatError:
                continue  # a name such as `..`
            is_wish = match[2] is not None
            is_asked = is_request and self._operation not in _IMPORTING
            self._recorded.note(path, is_asked=is_asked, outputs=is_wish)
            if is_wish and self._buildable is not None and path not in self._buildable:
                raise ConnectionAbortedError(f"{path} is not to be built")
