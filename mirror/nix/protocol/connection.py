"""One connection to a Nix daemon: requests, answers and imports, in the worker protocol.

Version 1.37 is spoken with newer Nix, 1.32 (Nix 2.4) is the oldest understood; feature lists come
with 1.38 and are never needed. A connection serves any number of tasks, one request or batch at a
time. (Several would import no faster: Nix registers one path after the other in any case.) A
temporary root lives as long as the connection that made it.

What is imported is the caller's decision: the daemon checks the NAR's hash, and signatures where
it does not trust this user. :mod:`mirror.nix.protocol.daemon` opens connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Final, TypeVar

from mirror.errors import FormatError, ToolError
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath
from mirror.nix.protocol import wire
from mirror.nix.protocol.wire import Decoder, Operation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

_SPOKEN: Final = (1, 37)
_OLDEST: Final = (1, 32)
_SINCE_NIX_VERSION: Final = (1, 33)
_SINCE_TRUST: Final = (1, 35)
_READ_SIZE: Final = 1 << 18
_BATCH: Final = 2_000
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;]*m")
_COLLECTOR: Final = "gc-socket"
"""In the name of the socket at which a garbage collection is told what to leave."""

_Value = TypeVar("_Value")


class DaemonError(ToolError):
    """Nix refused a request; ``message`` is in its own words. The connection goes on.

    But not where Nix could not reach a garbage collection that is running: it tries once in the
    life of a connection, and calls later roots protected of which the collection hears nothing.
    """


class Connection:
    """An open connection; :func:`mirror.nix.protocol.daemon.connect` makes one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.version = (0, 0)
        self.nix_version = ""
        self.trusted: bool | None = None
        """Whether the daemon trusts this user; None where it is too old to say."""
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._position = 0
        self._turn = asyncio.Lock()
        self._out_of_step = False

    async def query_valid_paths(self, paths: Collection[StorePath]) -> set[StorePath]:
        """Those of ``paths`` that the store holds. Nothing is substituted."""
        request = wire.integer(Operation.QUERY_VALID_PATHS) + wire.strings(paths) + wire.integer(0)
        (answer,) = await self._ask([request], Decoder.strings)
        valid = set(answer)
        return {path for path in paths if path in valid}

    async def query_path_info(self, path: StorePath) -> PathInfo | None:
        """What the store knows of ``path``; None where it does not hold it."""
        return (await self.query_path_infos([path])).get(path)

    async def query_path_infos(self, paths: Collection[StorePath]) -> dict[StorePath, PathInfo]:
        """What the store knows of those of ``paths`` that it holds."""
        ordered = list(paths)
        operation = wire.integer(Operation.QUERY_PATH_INFO)
        answers = await self._ask(
            [operation + wire.string(path) for path in ordered], _optional_path_info
        )
        return {
            path: answer(path)
            for path, answer in zip(ordered, answers, strict=True)
            if answer is not None
        }

    async def query_path_from_hash_part(self, hash_part: str) -> StorePath | None:
        """The path with these 32 characters after ``/nix/store/``; None without such a path."""
        request = wire.integer(Operation.QUERY_PATH_FROM_HASH_PART) + wire.string(hash_part)
        (path,) = await self._ask([request], _optional_store_path)
        return path

    async def add_temp_roots(self, paths: Iterable[StorePath]) -> None:
        """Protect paths, valid or not, until this connection is closed."""
        operation = wire.integer(Operation.ADD_TEMP_ROOT)
        await self._ask([operation + wire.string(path) for path in paths], Decoder.integer)

    async def add_indirect_root(self, link: str) -> None:
        """Register ``link``, the absolute name of a symbolic link to a store path, as a root."""
        request = wire.integer(Operation.ADD_INDIRECT_ROOT) + wire.string(link)
        await self._ask([request], Decoder.integer)

    async def add_to_store_nar(
        self,
        info: PathInfo,
        chunks: AsyncIterator[bytes],
        *,
        check_signatures: bool = True,
        repair: bool = False,
    ) -> None:
        """Import a path from its uncompressed NAR; its references are valid already.

        A path that is valid already is left as it is, or with ``repair`` put in its place anew.
        ``check_signatures=False`` is heeded for a user that the daemon trusts only.

        Raises:
            DaemonError: Nix refused it: wrong hash, no trusted signature, no room, …

        """
        header = b"".join(
            [
                wire.integer(Operation.ADD_TO_STORE_NAR),
                wire.string(info.path),
                wire.string(info.deriver or ""),
                wire.string(info.nar_hash.base16),
                wire.strings(info.references),
                wire.integer(0),  # registration time: now
                wire.integer(info.nar_size),
                wire.integer(0),  # not "ultimate": that means built here
                wire.strings(info.signatures),
                wire.string(info.content_address or ""),
                wire.integer(1 if repair else 0),
                wire.integer(0 if check_signatures else 1),
            ]
        )
        async with self._in_step():
            # The daemon may speak, or fail, at any moment while the NAR is on its way.
            answer = asyncio.create_task(self._end_of_frames())
            try:
                with contextlib.suppress(ConnectionError):
                    self._writer.write(header)
                    async for chunk in chunks:
                        if answer.done():
                            break
                        if chunk:
                            self._writer.write(wire.integer(len(chunk)))
                            self._writer.write(chunk)
                            await self._writer.drain()
                    self._writer.write(wire.integer(0))
                    await self._writer.drain()
                refusal = await answer
            finally:
                answer.cancel()
        self._raise_if(refusal)

    async def greet(self) -> None:
        """Agree on a version; :func:`mirror.nix.protocol.daemon.connect` does it."""
        async with self._in_step():
            self._writer.write(wire.integer(wire.CLIENT_HELLO))
            if await self._read(Decoder.integer) != wire.SERVER_HELLO:
                raise ToolError("what answers is not a Nix daemon")
            offered = await self._read(Decoder.integer)
            version = (offered >> 8, offered & 0xFF)
            if version[0] != _SPOKEN[0] or version < _OLDEST:
                raise ToolError(
                    f"this Nix speaks version {version[0]}.{version[1]} of the worker protocol, "
                    f"which is not understood",
                    hint="use Nix 2.4 or newer",
                )
            self.version = min(version, _SPOKEN)
            spoken = self.version[0] << 8 | self.version[1]
            # Two settings that no longer mean anything follow the version.
            self._writer.write(b"".join(map(wire.integer, (spoken, 0, 0))))
            if self.version >= _SINCE_NIX_VERSION:
                self.nix_version = await self._read(Decoder.string)
            if self.version >= _SINCE_TRUST:
                self.trusted = {1: True, 2: False}.get(await self._read(Decoder.integer))
            refusal = await self._end_of_frames()
        self._raise_if(refusal)

    async def _ask(
        self, requests: Sequence[bytes], parse: Callable[[Decoder], _Value]
    ) -> list[_Value]:
        """Send requests without waiting in between; every answer is read, then errors raised."""
        answers: list[_Value] = []
        refusal: str | None = None
        async with self._in_step():
            for start in range(0, len(requests), _BATCH):
                batch = requests[start : start + _BATCH]
                # Not drained here: the transport sends while the answers are read below.
                self._writer.write(b"".join(batch))
                for _ in batch:
                    refused = await self._end_of_frames()
                    if refused is None:
                        answers.append(await self._read(parse))
                    refusal = refusal or refused
        self._raise_if(refusal)
        return answers

    def _raise_if(self, refusal: str | None) -> None:
        if refusal is None:
            return
        message = plain(refusal)
        hint = None
        if _COLLECTOR in message:
            self._out_of_step = True
            hint = "garbage is being collected there just now: run again when that is over"
        raise DaemonError(message, hint=hint)

    async def _end_of_frames(self) -> str | None:
        """Read past log frames; None when an answer follows, else the daemon's error."""
        while (words := await self._read(wire.log_frame)) == "":
            pass
        return words

    async def _read(self, parse: Callable[[Decoder], _Value]) -> _Value:
        while True:
            decoder = Decoder(self._buffer, self._position)
            try:
                value = parse(decoder)
            except wire.NeedMoreError:
                del self._buffer[: self._position]
                self._position = 0
                data = await self._reader.read(_READ_SIZE)
                if not data:
                    raise ConnectionResetError from None
                self._buffer += data
            else:
                self._position = decoder.position
                return value

    @contextlib.asynccontextmanager
    async def _in_step(self) -> AsyncIterator[None]:
        """One exchange; if it is left in its middle, the connection is of no more use."""
        async with self._turn:
            if self._out_of_step:
                raise ToolError("the connection to the Nix daemon was lost earlier")
            self._out_of_step = True
            try:
                yield
            except ConnectionError as error:
                refused = "its setting `allowed-users` may exclude you"
                raise ToolError(
                    "the Nix daemon closed the connection",
                    hint="its log says why" if self.version > (0, 0) else refused,
                ) from error
            except FormatError as error:
                raise ToolError(f"invalid answer from the Nix daemon: {error}") from error
            self._out_of_step = False


def plain(text: str) -> str:
    """A message of Nix without colours and without its leading ``error:``."""
    return _ESCAPES.sub("", text).strip().removeprefix("error:").strip()


def _optional_store_path(decoder: Decoder) -> StorePath | None:
    """Read a path, or the empty string that stands for none."""
    path = decoder.string()
    return StorePath.parse(path) if path else None


def _optional_path_info(decoder: Decoder) -> Callable[[StorePath], PathInfo] | None:
    """Read an answer to QueryPathInfo; it lacks the path itself, which the caller knows."""
    if not decoder.integer():
        return None
    deriver = _optional_store_path(decoder)
    nar_hash = Hash.parse(decoder.string(), "sha256")
    references = tuple(sorted(StorePath.parse(path) for path in decoder.strings()))
    decoder.integer()  # when it was registered
    nar_size = decoder.integer()
    decoder.integer()  # whether it was built here
    signatures = tuple(decoder.strings())
    content_address = decoder.string() or None

    def info(path: StorePath) -> PathInfo:
        return PathInfo(
            path=path,
            nar_hash=nar_hash,
            nar_size=nar_size,
            references=references,
            deriver=deriver,
            signatures=signatures,
            content_address=content_address,
        )

    return info
