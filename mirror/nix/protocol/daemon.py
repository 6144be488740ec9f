"""Connecting to a Nix store in the worker protocol.

:func:`connect` speaks to the daemon's socket where the store is a daemon's, and else to a
``nix-daemon --stdio`` of its own, which opens the store itself (or, for ``auto``, hands on to the
daemon if this user cannot write to the store).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import ToolError
from mirror.nix.protocol.connection import Connection, DaemonError, plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation

__all__ = ["Channel", "Connection", "DaemonError", "connect", "open_channel"]

_DEFAULT_SOCKET: Final = "/nix/var/nix/daemon-socket/socket"
_READ_SIZE: Final = 1 << 16
_LINES_KEPT: Final = 10
_FAREWELL_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Channel:
    """An open channel to a store; ``last_words`` waits for the error that its far end died with."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    last_words: Callable[[], Awaitable[str]]


@contextlib.asynccontextmanager
async def connect(nix: Nix, store: StoreLocation) -> AsyncIterator[Connection]:
    """Connect to ``store``; leaving the context closes the connection and its temporary roots.

    Raises:
        ToolError: nobody answers, or this user is not let in, or the version is unknown.

    """
    async with open_channel(nix, store) as channel:
        connection = Connection(channel.reader, channel.writer)
        try:
            await connection.greet()
        except ToolError as error:
            said = await channel.last_words()
            if not said:
                raise
            raise ToolError(f"the store {store.url} cannot be opened: {said}") from error
        yield connection


@contextlib.asynccontextmanager
async def open_channel(nix: Nix, store: StoreLocation) -> AsyncIterator[Channel]:
    """Open a channel to ``store``, to speak the protocol on; leaving the context closes it.

    Raises:
        ToolError: nobody answers, or this user is not let in.

    """
    socket = _socket(nix, store)
    opened = _over_socket(socket) if socket else _over_process(nix, store)
    async with opened as channel:
        yield channel


def _socket(nix: Nix, store: StoreLocation) -> str | None:
    scheme, _, path = store.url.partition("?")[0].partition("://")
    if scheme == "unix" and path:
        return path
    if scheme in {"unix", "daemon"}:
        return nix.environment.get("NIX_DAEMON_SOCKET_PATH", _DEFAULT_SOCKET)
    return None


@contextlib.asynccontextmanager
async def _over_socket(socket: str) -> AsyncIterator[Channel]:
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except PermissionError as error:
        raise ToolError(
            f"no permission to connect to the Nix daemon at {socket}",
            hint="ask for access (on Debian: membership of the group nix-users)",
        ) from error
    except OSError as error:
        raise ToolError(
            f"no Nix daemon answers at {socket}: {error.strerror or error}",
            hint="start it (systemctl start nix-daemon.socket), or give another store",
        ) from error

    async def nothing() -> str:
        return ""

    try:
        yield Channel(reader, writer, nothing)
    finally:
        await _hang_up(writer)


@contextlib.asynccontextmanager
async def _over_process(nix: Nix, store: StoreLocation) -> AsyncIterator[Channel]:
    # Without NIX_REMOTE, Nix itself chooses, and a user's own NIX_REMOTE says what "auto" is.
    environment = {} if store.url == "auto" else {"NIX_REMOTE": store.url}
    async with nix.process(["nix-daemon", "--stdio"], environment=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        last_lines: deque[str] = deque(maxlen=_LINES_KEPT)
        listener = asyncio.create_task(_listen(process.stderr, last_lines))

        async def complaint() -> str:
            await asyncio.wait([listener], timeout=_FAREWELL_SECONDS)
            return _complaint(last_lines)

        try:
            yield Channel(process.stdout, process.stdin, complaint)
        finally:
            await _hang_up(process.stdin)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _FAREWELL_SECONDS)
            listener.cancel()


async def _listen(stream: asyncio.StreamReader, last_lines: deque[str]) -> None:
    """Drain a pipe, and keep its last lines for an error message."""
    while data := await stream.read(_READ_SIZE):
        last_lines.extend(line for line in data.decode(errors="replace").splitlines() if line)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def _complaint(lines: Iterable[str]) -> str:
    """A process's error message: from its last ``error:`` on, otherwise everything."""
    text = "\n".join(lines)
    return plain(text[max(text.rfind("error:"), 0) :])
