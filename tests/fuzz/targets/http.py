"""What the HTTP client makes of whatever a server sends: bytes, or one of its own errors.

An input is what a server sends on one connection after the other, with a line of five ``=``
between. Names are not looked up, and no other server is connected to than this one.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from fuzz.target import Check, Target
from mirror.errors import SourceError
from mirror.sources.http.client import HttpClient
from mirror.sources.http.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEPARATOR: Final = b"=====\n"
_LOOPBACK: Final = "127.0.0.1"
_SETTINGS: Final = HttpSettings(
    attempts=3,
    redirects=3,
    connect_seconds=5,
    first_pause=0,
    is_public=lambda address: address == _LOOPBACK,  # it is led nowhere else
)
_CAP: Final = 1_000
_SIZE: Final = 20


class _Says:
    """A server that says one thing after the other, whatever it is asked."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.replies.pop(0) if self.replies else b"")
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _no_pause(_: float) -> None:
    """Time is not what is fuzzed."""


@contextlib.contextmanager
def _checking() -> Iterator[Check]:
    with asyncio.Runner() as runner:
        says = _Says()
        server = runner.run(_listen(says))
        address = server.sockets[0].getsockname()
        url = f"http://{address[0]}:{address[1]}/x"
        client = runner.run(_client())
        try:
            yield lambda data: runner.run(_ask(client, url, says, data))
        finally:
            runner.run(client.__aexit__(None, None, None))
            server.close()


async def _client() -> HttpClient:
    return HttpClient(
        _SETTINGS,
        sleep=_no_pause,
        jitter=lambda: 0.5,
        now=lambda: datetime(2026, 11, 24, tzinfo=UTC),
    )


async def _listen(says: _Says) -> asyncio.Server:
    return await asyncio.start_server(says.answer, _LOOPBACK, 0)


async def _ask(client: HttpClient, url: str, says: _Says, data: bytes) -> None:
    refusals: list[SourceError] = []
    ways = (_stream, _get_small, _head)
    for ask in ways:
        says.replies = data.split(_SEPARATOR)
        try:
            await ask(client, url)
        except SourceError as error:
            refusals.append(error)
    if len(refusals) == len(ways):
        raise refusals[0]


async def _stream(client: HttpClient, url: str) -> None:
    async with client.stream(url, expected_size=_SIZE, cap=_CAP) as chunks:
        assert len(b"".join([chunk async for chunk in chunks])) <= _CAP


async def _get_small(client: HttpClient, url: str) -> None:
    assert len(await client.get_small(url, cap=_CAP)) <= _CAP


async def _head(client: HttpClient, url: str) -> None:
    size = await client.head(url)
    assert size is None or size >= 0


TARGET: Final = Target(
    name="http",
    checking=_checking,
    refusals=(SourceError,),
    words=(
        *(_SEPARATOR, b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 206 Partial Content\r\n", b"\r\n\r\n"),
        *(b"HTTP/1.1 302 Found\r\n", b"HTTP/1.1 429 Too Many\r\n", b"HTTP/1.1 503 x\r\n"),
        *(b"Content-Length: ", b"Content-Range: bytes 5-19/20\r\n", b"bytes 5-19/*", b"9" * 4400),
        *(b"Content-Encoding: gzip\r\n", b"Transfer-Encoding: chunked\r\n", b"Retry-After: "),
        *(b"Location: ", b"//", b"http://", b"http://[", b"file:///etc/passwd", b"http://x:99999/"),
        *(b'ETag: "a"\r\n', b"Last-Modified: Tue, 24 Nov 2026 00:00:00 GMT\r\n", b"\xd9\xa3"),
        *(b"Tue, 24 Nov 2026 00:00:00 +9999999999999999", b"Tue, 24 Nov 99999 00:00:00 GMT"),
        *(b"Set-Cookie: a=b\r\n", b"Connection: keep-alive\r\n", b"0\r\n\r\n", b"ffffffff\r\n"),
    ),
    executions=150,
    longest=10_000,
)
