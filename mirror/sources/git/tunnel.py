"""Keeps git out of private networks once it has asked a server on the public internet.

Git follows a repository's redirects and goes wherever submodules say. So its connections go through
a SOCKS 5 server (RFC 1928, 1929) of this process on loopback, which looks names up and connects to
public addresses only. It wants a password, which only git knows. Where the environment names a
proxy it is the proxy that decides, and who starts from a private address may go anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import secrets
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mirror.sources.addresses import is_outside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_VERSION: Final = 5
_PASSWORD_METHOD: Final = 2
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_GRANTED, _NOT_ALLOWED, _HOST_UNREACHABLE, _UNKNOWN_COMMAND = 0, 2, 4, 7
_USER: Final = "git"
_SCHEMES: Final = ("http", "https", "git")
_CONNECT_SECONDS: Final = 30.0
_PIECE: Final = 1 << 18
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")
"""Those that libcurl goes by."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A way to public addresses only, at ``url``.

    ``refused`` are hosts that have none, ``lost`` others that there is no connection to, and why.
    """

    url: str
    refused: set[str]
    lost: dict[str, str]


@contextlib.asynccontextmanager
async def tunnel_for(url: str, public: Callable[[str], bool]) -> AsyncIterator[Tunnel | None]:
    """The tunnel for git's connections for ``url``; None if they need no restriction.

    ``public`` says which IP addresses are on the public internet.
    """
    if any(os.environ.get(name) for name in _PROXIES) or not await _is_outside(url, public):
        yield None
        return
    serving = _Serving(public)
    async with await asyncio.start_server(serving.connection, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            url = f"socks5h://{_USER}:{serving.password}@127.0.0.1:{port}"
            yield Tunnel(url, serving.refused, serving.lost)
        finally:
            serving.stop()


async def _is_outside(url: str, public: Callable[[str], bool]) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return parts.scheme in _SCHEMES and host is not None and await is_outside(host, public)


@dataclass(frozen=True, slots=True)
class _Serving:
    """The tunnel's end on this side, and its connections."""

    public: Callable[[str], bool]
    password: str = field(default_factory=secrets.token_hex)
    refused: set[str] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def stop(self) -> None:
        """End all connections."""
        for task in self.tasks:
            task.cancel()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            there = await self._connected(reader, writer)
            if there is not None:
                await _join((reader, writer), there)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> _Streams | None:
        """Do as the protocol says; a connection to where it asks for, or None."""
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(bytes((_VERSION, _PASSWORD_METHOD)))
        _, length = await reader.readexactly(2)
        await reader.readexactly(length)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        if not secrets.compare_digest(password, self.password.encode()):
            writer.write(b"\1\1")
            return None
        writer.write(b"\1\0")
        _, command, _, kind = await reader.readexactly(4)
        if kind == _NAME:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode("latin-1")
        else:
            size = 4 if kind == _IPV4 else 16
            host = str(ipaddress.ip_address(await reader.readexactly(size)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        answer, there = _UNKNOWN_COMMAND, None
        if command == _CONNECT:
            answer, there = await self._connect(host, port)
        writer.write(bytes((_VERSION, answer, 0, _IPV4, 0, 0, 0, 0, 0, 0)))
        return there

    async def _connect(self, host: str, port: int) -> tuple[int, _Streams | None]:
        """Connect to the first of the host's public addresses that answers."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as error:
            self.lost[host] = _reason(error)
            return _HOST_UNREACHABLE, None
        addresses = [str(address[0]) for *_, address in found if self.public(str(address[0]))]
        if not addresses:
            self.refused.add(host)
            return _NOT_ALLOWED, None
        for address in addresses:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return _GRANTED, await asyncio.open_connection(address, port)
            except OSError as error:
                self.lost[host] = _reason(error)
        return _HOST_UNREACHABLE, None


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "that is not a host name"
    return error.strerror or "it does not answer"


async def _join(one: _Streams, other: _Streams) -> None:
    """Forward data in both directions until both sides have ended."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_hand_on(one[0], other[1]))
            group.create_task(_hand_on(other[0], one[1]))
    except* OSError:
        pass
    finally:
        other[1].close()


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
