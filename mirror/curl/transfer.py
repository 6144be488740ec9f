"""One transfer of libcurl's at a time: the head of an answer, then its body piece by piece."""

from __future__ import annotations

import asyncio
import re
import socket
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import pycurl

from mirror.curl.failure import NOT_FOLLOWED, CurlError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mirror.curl.multi import Multi

_READ: Final = 1 << 19
"""How much libcurl reads at once, in bytes; it hands it over in pieces of 16 KiB."""
_BLANK: Final = (b"\r\n", b"\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/([0-9])(?:\.[0-9])? ([0-9]{3})")
_FINAL: Final = 200
_ENCODING: Final = b"content-encoding"
_AS_IT_IS: Final = ("", "identity")
_CHUNK_SIZE: Final = 1 << 20
_CHUNKS: Final = 4
"""How many chunks wait to be taken before no more is read."""
_PAUSE: Final = int(pycurl.WRITEFUNC_PAUSE)
_SUPPRESS_CONNECT_HEADERS: Final = 265
"""libcurl's number of that option, for which pycurl has no name: a proxy's answer is not ours."""


class Head(NamedTuple):
    """The head of an answer; one of ftp has neither status nor headers.

    ``encodings`` are its Content-Encodings in the server's order, ``is_multiplexed`` is HTTP/2.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    encodings: tuple[str, ...]
    is_multiplexed: bool

    @property
    def location(self) -> str:
        """The answer's Location; empty if it has none."""
        found = next((value for name, value in self.headers if name.lower() == b"location"), b"")
        return found.decode("utf-8", "surrogateescape")


class Transfer:
    """An easy handle of libcurl's, used again and again; its options of long standing are set.

    ``allows`` says which IP addresses may be connected to.
    """

    def __init__(self, options: Sequence[tuple[int, object]]) -> None:
        self.easy = pycurl.Curl()
        for option, value in options:
            self.easy.setopt(option, value)
        self.easy.setopt(pycurl.BUFFERSIZE, _READ)
        self.easy.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
        self.easy.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        # Of a small answer, to call a method for each line would be half of all that is done.
        self._lines: list[bytes] = []
        self.easy.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        self.easy.setopt(pycurl.WRITEFUNCTION, self._take_piece)
        self.allows: Callable[[str], bool] | None = None
        self.url = ""
        self._multi: Multi | None = None
        self._waiter: asyncio.Future[None] | None = None

    def start(self, multi: Multi, url: str) -> None:
        """Ask for ``url``."""
        self.url = url
        self._lines.clear()
        self._pieces: list[bytes] = []
        self._chunks: deque[bytes] = deque()
        self._gathered = 0
        self._has_head = False
        self._is_paused = False
        self._is_blocked = False
        self._end: tuple[int, str] | None = None
        self.easy.setopt(pycurl.URL, url.encode("utf-8", "surrogateescape"))
        multi.add(self.easy, self._finish)
        self._multi = multi

    async def head(self) -> Head:
        """Wait for the head of the answer; it is there once something of the body is, or its end.

        Raises:
            CurlError: there is none.

        """
        while not self._has_head and self._end is None:
            await self._something()
        head = _head_of(self._lines)
        if not self._has_head and (head.status < _FINAL or self._lines[-1] not in _BLANK):
            self._raise_failure()
        return head

    async def chunk(self) -> bytes:
        """About 1 MiB of the body, or what is left; empty at its end.

        Raises:
            CurlError: the body is cut short; whatever came before was handed on.

        """
        while not self._chunks and self._end is None:
            await self._something()
        if not self._chunks:
            self._raise_failure()
            return b""
        chunk = self._chunks.popleft()
        if self._is_paused and not self._chunks:
            self._is_paused = False
            self.easy.pause(pycurl.PAUSE_CONT)
        return chunk

    def stop(self) -> None:
        """Stop the transfer, wherever it is."""
        if self._multi is not None:
            self._multi.remove(self.easy)
            self._multi = None

    async def _something(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _raise_failure(self) -> None:
        assert self._end is not None
        code, words = self._end
        if self._is_blocked:
            words = " from the public internet into a private network"
            raise CurlError(NOT_FOLLOWED, words, self.url)
        if code:
            raise CurlError(code, words, self.url)

    def _open_socket(self, _purpose: int, address: pycurl.CurlSockAddr) -> socket.socket | int:
        family, kind, protocol, where = address
        if self.allows is not None and not self.allows(str(where[0])):
            self._is_blocked = True
            return pycurl.SOCKET_BAD
        opened = socket.socket(family, kind, protocol)
        # What pycurl goes on with is a duplicate, made once this has returned.
        asyncio.get_running_loop().call_soon(opened.close)
        return opened

    def _take_piece(self, piece: bytes) -> int | None:
        if len(self._chunks) >= _CHUNKS:
            self._is_paused = True
            return _PAUSE
        self._pieces.append(piece)
        self._gathered += len(piece)
        if self._gathered >= _CHUNK_SIZE:
            self._complete_chunk()
        elif not self._has_head:
            self._has_head = True
            self._wake()
        return None

    def _complete_chunk(self) -> None:
        # At once, while the processor still has the pieces at hand: later it takes twice as long.
        self._chunks.append(b"".join(self._pieces))
        self._pieces.clear()
        self._gathered = 0
        self._wake()

    def _finish(self, code: int, words: str) -> None:
        if self._pieces:
            self._complete_chunk()
        self._has_head = self._has_head or not code
        self._end = code, words
        self._wake()


def _head_of(lines: Sequence[bytes]) -> Head:
    """The head of the final answer: interim answers and trailers come the same way."""
    status, is_multiplexed = 0, False
    headers: list[tuple[bytes, bytes]] = []
    encodings: list[str] = []
    is_inside = False
    for line in lines:
        if is_inside:
            name, colon, value = line.partition(b":")
            if colon:
                value = value.strip()
                headers.append((name, value))
                if name.lower() == _ENCODING:
                    encodings += value.decode("latin-1").lower().split(",")
            is_inside = line not in _BLANK
        elif said := _STATUS_LINE.match(line):
            is_multiplexed = said[1] == b"2"
            status = int(said[2])
            headers.clear()
            encodings.clear()
            is_inside = True
    named = (each.strip() for each in encodings)
    return Head(status, headers, tuple(e for e in named if e not in _AS_IT_IS), is_multiplexed)
