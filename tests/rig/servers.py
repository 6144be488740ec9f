"""A loopback HTTP server that does as it is told: right, wrong, slow, cut short, or not at all.

It speaks HTTP/1.1 on bare streams, so that a test can send what no well-meaning server library
would. Each path has a list of behaviours; a request takes the next one, and the last one stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path
    from types import TracebackType

RANGE = re.compile(r"bytes=(\d+)-")
_PIECE = 1 << 20
"""How much of a body is sent at once where a reply does not say, so that none is held twice."""


@dataclass(slots=True)
class Request:
    """What a client asked: its target as sent, and its headers in lower case."""

    target: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(slots=True, kw_only=True)
class Reply:
    """An answer, and how it goes wrong.

    ``length``: announce a Content-Length (of the whole body, whatever is sent). ``cut_after``:
    close after that many bytes of the body (``reset``: with a TCP reset; ``until``: not before that
    is set). ``pause``: between pieces of ``piece`` bytes. ``hang``: send the headers and half of
    the body, then nothing (nothing at all, if ``hang_first``). ``ranges``: honour Range, if
    If-Range still matches ``etag`` or Last-Modified. ``endless``: send the body again and again.
    ``raw``: send these bytes instead of an HTTP answer; with ``endless``, the body after them.
    ``close``: and then the connection, without having said so.
    """

    body: bytes | memoryview = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = None
    length: bool = True
    cut_after: int | None = None
    reset: bool = False
    until: asyncio.Event | None = None
    piece: int | None = None
    pause: float = 0.0
    hang: bool = False
    hang_first: bool = False
    ranges: bool = True
    endless: bool = False
    close: bool = False
    raw: bytes | None = None


@contextlib.asynccontextmanager
async def connection(
    writer: asyncio.StreamWriter, connections: set[asyncio.Task[None]]
) -> AsyncGenerator[None]:
    """Serve one connection, which is among ``connections`` meanwhile, however it ends."""
    task = asyncio.current_task()
    assert task is not None
    connections.add(task)
    try:
        yield
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass
    finally:
        connections.discard(task)
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()


async def end_connections(connections: set[asyncio.Task[None]]) -> None:
    """End those that are served, and wait until they have."""
    for task in connections:
        task.cancel()
    await asyncio.gather(*connections, return_exceptions=True)


class Server:
    """An async context manager; ``url`` is where it listens, ``requests`` what it was asked.

    ``fault`` makes of each answer what is sent. ``sent_bytes`` is how much of bodies was.
    """

    def __init__(
        self,
        files: Path | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.files = files
        self._tls = tls
        self._address = address
        self.requests: list[Request] = []
        self.was_asked = asyncio.Event()
        self.connections = 0
        self.sent_bytes = 0
        self.fault: Callable[[Request, Reply], Reply] = lambda _, reply: reply
        self.at_once = 0
        self.most_at_once = 0
        self._replies: dict[str, list[Reply]] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def on(self, path: str, *replies: Reply) -> str:
        """Answer ``path`` so; the URL of it."""
        self._replies[path] = list(replies)
        return self.url + path

    @property
    def url(self) -> str:
        assert self._server is not None
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self._address}:{self._server.sockets[0].getsockname()[1]}"

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connection, self._address, 0, ssl=self._tls)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await end_connections(self._connections)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        async with connection(writer, self._connections):
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                self.was_asked.set()
                async with self._counted():
                    keep = await self._answer(request, writer)
                if not keep:
                    break

    @contextlib.asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            self.at_once -= 1

    def _reply(self, request: Request) -> Reply:
        replies = self._replies.get(request.path)
        if replies:
            return replies.pop(0) if len(replies) > 1 else replies[0]
        if self.files is not None:
            file = self.files / request.path.lstrip("/")
            if file.is_file():
                return Reply(body=file.read_bytes())
        return Reply(status=404, body=b"not here")

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        reply = self.fault(request, self._reply(request))
        if reply.hang_first:
            await asyncio.sleep(3600)
        if reply.raw is not None:
            await self._send_raw(reply.raw, reply, writer)
            return False
        status, headers, body = reply.status, dict(reply.headers), reply.body
        if reply.etag is not None:
            headers["ETag"] = reply.etag
        wanted = RANGE.fullmatch(request.headers.get("range", ""))
        unchanged = request.headers.get("if-range", reply.etag) in {
            reply.etag,
            headers.get("Last-Modified", reply.etag),
        }
        if wanted and reply.ranges and unchanged:
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            status, body = 206, memoryview(body)[start:]
        if reply.length:
            headers["Content-Length"] = str(len(body))
        else:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {status} Because", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        head = "\r\n".join(lines).encode()
        sent = body if reply.cut_after is None else body[: reply.cut_after]
        if reply.hang:
            writer.write(b"".join((head, sent[: len(sent) // 2])))
            await writer.drain()
            await asyncio.sleep(3600)
        # What is short leaves together with its head, as from any good server.
        is_short = len(sent) <= _PIECE and reply.piece is None
        writer.write(b"".join((head, sent)) if is_short else head)
        if is_short:
            self.sent_bytes += len(sent)
            await writer.drain()
        else:
            await self._send(sent, reply, writer)
        while reply.endless:
            await self._send(sent, reply, writer)
        await self._end(reply, writer)
        return reply.length and reply.cut_after is None and not reply.close

    async def _end(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        if reply.until is not None:
            await reply.until.wait()
        elif reply.reset:
            # Give the client time to read what was sent: a reset throws away what is on its way.
            await asyncio.sleep(0.1)
        if reply.reset:
            writer.transport.abort()

    async def _send_raw(self, raw: bytes, reply: Reply, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        while reply.endless:
            await self._send(reply.body, reply, writer)

    async def _send(
        self, body: bytes | memoryview, reply: Reply, writer: asyncio.StreamWriter
    ) -> None:
        size = reply.piece or _PIECE
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            writer.write(piece)
            self.sent_bytes += len(piece)
            await writer.drain()
            if reply.piece is not None:
                await asyncio.sleep(reply.pause)


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return Request(
        target=first.split(" ")[1],
        headers={name.strip().lower(): value.strip() for name, _, value in pairs},
    )
