"""The bytes of one URL, from first to last, in chunks of about 1 MiB.

A :class:`Body` survives its connection: when that is cut, it asks for the rest with ``Range`` and
``If-Range``, and where the server sends all again it leaves out what it has handed on. Nothing is
handed on twice, and nothing of a file that changed in between: what the server has no validator for
is compared with what was handed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self
from zlib import crc32

from mirror.curl.failure import CurlError
from mirror.errors import IntegrityError, TransientError
from mirror.sources.http.explained import translate
from mirror.sources.server_errors import ChangedError
from mirror.system.chunks import CHUNK_SIZE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from types import TracebackType

    import httpx

    from mirror.sources.pace import RateLimiter

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
_SIZE: Final = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How the URL is requested: with headers to add, after a pause where it failed, how fast."""

    ask: Callable[[Mapping[str, str]], Awaitable[httpx.Response]]
    pause: Callable[[int, TransientError], Awaitable[None]]
    limiter: RateLimiter


class Body:
    """An async context manager that is the iterator of its chunks.

    ``encodings`` are the Content-Encodings that the server applied, in its order.
    """

    def __init__(
        self,
        connection: Connection,
        url: str,
        *,
        expected_size: int | None = None,
        cap: int | None = None,
    ) -> None:
        self.encodings: tuple[str, ...] = ()
        self._connection = connection
        self._url = url
        self._wanted_size = expected_size
        self._cap = cap
        self._failures = 0
        self._progress = 0
        self._received = 0
        self._skip = 0
        self._checksum = 0
        """Of what was handed on, where there is no validator."""
        self._checksum_again = 0
        self._size: int | None = None
        self._validator: str | None = None
        self._answer: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def __aenter__(self) -> Self:
        try:
            while self._pieces is None:
                try:
                    await self._connect()
                except TransientError as error:
                    await self._failed(error)
        except BaseException:
            await self._disconnect()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._disconnect()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            try:
                if self._pieces is None:
                    await self._connect()
                chunk = await self._next_chunk()
            except TransientError as error:
                await self._failed(error)
                continue
            if not chunk:
                raise StopAsyncIteration
            return chunk

    async def _failed(self, error: TransientError) -> None:
        """Drop the connection and wait before the next one, or raise ``error``."""
        await self._disconnect()
        if isinstance(error, ChangedError):
            raise error
        # A line that is often cut, but brings a good piece each time, is no failure. Where all has
        # to come again each time it is one: that would take the square of the size.
        if self._validator is not None and self._received - self._progress >= CHUNK_SIZE:
            self._failures = 0
        self._progress = self._received
        self._failures += 1
        await self._connection.pause(self._failures, error)

    async def _disconnect(self) -> None:
        self._pieces = None
        if self._answer is not None:
            await self._answer.aclose()
            self._answer = None

    async def _connect(self) -> None:
        """Open the body, or the rest of it."""
        first = self._received == 0
        resume = not first and self._validator is not None
        headers = (
            {"Range": f"bytes={self._received}-", "If-Range": self._validator or ""}
            if resume
            else {}
        )
        answer = self._answer = await self._connection.ask(headers)
        if is_part(answer):
            self._continue_part(answer)
        else:
            self._begin_whole(answer, first=first)
        self._pieces = answer.aiter_raw()

    def _begin_whole(self, answer: httpx.Response, *, first: bool) -> None:
        size = content_length(answer)
        validator = _validator(answer)
        if first:
            self._size, self._validator = size, validator
            self.encodings = answer.extensions["encodings"]
            wanted = self._wanted_size
            if None not in {wanted, size} and wanted != size and not self.encodings:
                raise IntegrityError(f"{self._url}: {size} bytes where {wanted} are expected")
        elif (size, validator) != (self._size, self._validator):
            raise self._changed()
        self._skip = self._received
        self._checksum_again = 0

    def _continue_part(self, answer: httpx.Response) -> None:
        part = _content_range(answer)
        if part is None or int(part[1]) != self._received:
            raise ChangedError(f"{self._url}: the server sent a part that was not requested")
        other_size = part[3] != "*" and self._size is not None and int(part[3]) != self._size
        # Some servers ignore If-Range, and send a part of whatever is there now.
        if other_size or (_validator(answer) or self._validator) != self._validator:
            raise self._changed()
        self._skip = 0

    async def _next_chunk(self) -> bytes:
        """The next data, without what was already handed on; empty at the end."""
        assert self._pieces is not None
        while True:
            try:
                piece = await anext(self._pieces, None)
            except CurlError as error:
                raise translate(error, self._url) from error
            if piece is None:
                self._check_end()
                return b""
            await self._connection.limiter.take(len(piece))
            kept = self._left_out(piece) if self._skip else piece
            if kept:
                self._received += len(kept)
                if self._validator is None:
                    self._checksum = crc32(kept, self._checksum)
                self._check_size()
                return kept

    def _left_out(self, piece: bytes) -> bytes:
        """The piece without what was handed on already."""
        known, kept = piece[: self._skip], piece[self._skip :]
        self._skip -= len(known)
        if self._validator is None:
            self._checksum_again = crc32(known, self._checksum_again)
            if not self._skip and self._checksum_again != self._checksum:
                raise self._changed()
        return kept

    def _check_size(self) -> None:
        expected = None if self.encodings else self._wanted_size
        for limit, what in ((expected, "expected"), (self._cap, "it may have")):
            if limit is not None and self._received > limit:
                raise IntegrityError(f"{self._url}: more than the {limit} bytes {what}")

    def _check_end(self) -> None:
        size = self._size
        if size is None and not self.encodings:
            size = self._wanted_size
        if self._skip or (size is not None and self._received < size):
            raise TransientError(
                f"{self._url}: the answer was cut short after {self._received} bytes"
                + (f" of {size}" if size is not None else "")
            )

    def _changed(self) -> ChangedError:
        return ChangedError(f"{self._url}: it changed while it was being downloaded")


def is_part(answer: httpx.Response) -> bool:
    """Whether it is less than the whole: some servers send the whole as a part, unasked."""
    if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
        return False
    part = _content_range(answer)
    return part is None or part[1] != "0" or part[3] != str(int(part[2]) + 1)


def _content_range(answer: httpx.Response) -> re.Match[str] | None:
    return _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", "").strip())


def content_length(answer: httpx.Response) -> int | None:
    """The size that the answer announces, in bytes; that of one in pieces says nothing."""
    if "transfer-encoding" in answer.headers:
        return None
    text = answer.headers.get("content-length", "")
    return int(text) if _SIZE.fullmatch(text) else None


def _validator(answer: httpx.Response) -> str | None:
    """What ``If-Range`` may hold: a strong ETag, else the modification date.

    One that is not ASCII could not be sent back.
    """
    tag: str = answer.headers.get("etag", "")
    if tag.startswith('"') and tag.isascii():
        return tag
    date: str = answer.headers.get("last-modified", "")
    return date if date and date.isascii() else None
