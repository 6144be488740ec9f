"""A loopback server that sends the very bytes it is given, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from rig.servers import connection, end_connections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

_PAUSE: Final = 0.02
"""Seconds between the pieces of an answer, so that they are mostly read one by one."""
_BEFORE_RESET: Final = 0.1
"""Seconds to read what was sent: a reset throws away what is on its way."""


class Then(Enum):
    """What becomes of the connection after an answer."""

    KEEP = auto()
    CLOSE = auto()
    RESET = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes, sent piece by piece, and what follows them.

    Of ``{port}`` and ``{other}`` in them are made the two ports at which the server listens.
    """

    pieces: tuple[bytes, ...]
    then: Then = Then.KEEP


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its target as it was sent, and its headers by their names in lower case."""

    method: str
    target: str
    headers: dict[str, str]


Reaction: TypeAlias = "Answer | Callable[[Request], Answer]"


@dataclass(slots=True)
class ScriptedServer:
    """An async context manager: the n-th request gets the n-th answer, later ones the last.

    It listens at two ports of ``address``.
    """

    script: Sequence[Reaction]
    address: str = "127.0.0.1"
    requests: list[Request] = field(default_factory=list)
    _servers: list[asyncio.Server] = field(default_factory=list)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def ports(self) -> tuple[str, str]:
        first, second = (str(server.sockets[0].getsockname()[1]) for server in self._servers)
        return first, second

    def filled(self, text: bytes) -> bytes:
        """``text`` with the ports in the place of their names."""
        first, second = (port.encode() for port in self.ports)
        return text.replace(b"{port}", first).replace(b"{other}", second)

    def nameless(self, text: str) -> str:
        """``text`` with the ports' names in their place: to differ in these is no difference."""
        first, second = self.ports
        return text.replace(f":{first}", ":{port}").replace(f":{second}", ":{other}")

    async def __aenter__(self) -> Self:
        for _ in range(2):
            self._servers.append(await asyncio.start_server(self._connection, self.address, 0))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.close()
        await end_connections(self._connections)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with connection(writer, self._connections):
            then = Then.KEEP
            while then is Then.KEEP:
                head = await reader.readuntil(b"\r\n\r\n")
                then = await self._react(_parsed(head), writer)
            if then is Then.RESET:
                await asyncio.sleep(_BEFORE_RESET)
                writer.transport.abort()

    async def _react(self, request: Request, writer: asyncio.StreamWriter) -> Then:
        reaction = self.script[min(len(self.requests), len(self.script) - 1)]
        self.requests.append(request)
        answer = reaction if isinstance(reaction, Answer) else reaction(request)
        for number, piece in enumerate(answer.pieces):
            if number:
                await asyncio.sleep(_PAUSE)
            writer.write(self.filled(piece))
            await writer.drain()
        return answer.then


def _parsed(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return Request(
        method=first.split(" ")[0],
        target=first.split(" ")[1],
        headers={name.strip().lower(): value.strip() for name, _, value in pairs},
    )
