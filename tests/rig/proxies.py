"""Real proxies on the loopback: tinyproxy, microsocks, and nginx for TLS in front of one.

Each asks from an address of its own, so that a server sees who asked it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Final

from rig import nginx
from rig.unpacked import unpacked

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from rig.certificates import Authority

USER: Final = "me"
PASSWORD: Final = "secret"
ESCAPED: Final = "me:%73ecret"
"""Both, as a URL may have them."""
_BELOW_EPHEMERAL: Final = range(10_000, 32_000)


@contextlib.contextmanager
def tinyproxy(directory: Path, address: str, *, secret: bool = False) -> Iterator[int]:
    """An HTTP proxy that asks from ``address``; its port."""
    program = unpacked("tinyproxy", "proxies", "usr/bin/tinyproxy")
    configuration = directory / f"tinyproxy-{address}"

    def command(port: int) -> list[str]:
        lines = [f"Port {port}", "Listen 127.0.0.1", f"Bind {address}", "Allow 127.0.0.1"]
        lines += ["Timeout 60", "LogLevel Critical"]
        if secret:
            lines.append(f"BasicAuth {USER} {PASSWORD}")
        configuration.write_text("\n".join([*lines, ""]))
        return [program, "-d", "-c", str(configuration)]

    with _listening(command) as port:
        yield port


@contextlib.contextmanager
def microsocks(address: str, *, secret: bool = False) -> Iterator[int]:
    """A SOCKS5 proxy that asks from ``address``; its port."""
    program = unpacked("microsocks", "proxies", "usr/bin/microsocks")
    words = ["-i", "127.0.0.1", "-b", address]
    if secret:
        words += ["-u", USER, "-P", PASSWORD]
    with _listening(lambda port: [program, "-p", str(port), *words]) as port:
        yield port


@contextlib.contextmanager
def behind_tls(directory: Path, proxy: int, authority: Authority) -> Iterator[int]:
    """The HTTP proxy at port ``proxy``, behind TLS; its port."""

    def text(port: int) -> str:
        return nginx.of_stream(
            f"""server {{
                listen 127.0.0.1:{port} ssl;
                ssl_certificate {authority.server_certificate};
                ssl_certificate_key {authority.server_key};
                proxy_pass 127.0.0.1:{proxy};
            }}"""
        )

    with nginx.running(directory / "nginx", text) as port:
        yield port


@contextlib.asynccontextmanager
async def who_asks(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that answers with the address that it is asked from; its port."""
    connections: dict[asyncio.Task[None], asyncio.WriteTransport] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections[task] = writer.transport
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            body = writer.get_extra_info("peername")[0].encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]
    # A proxy may hold a connection for longer than who asked through it.
    for transport in connections.values():
        transport.abort()
    await asyncio.gather(*connections)


@contextlib.contextmanager
def _listening(command: Callable[[int], list[str]]) -> Iterator[int]:
    """Run a program that listens at a port; the port, once it does."""
    port = _free_port()
    process = subprocess.Popen(command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _listens(port):
            assert process.poll() is None, "it has ended"
            time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    """A port that the system gives to nobody who does not ask for it, so that it stays free."""
    while True:
        port = random.choice(_BELOW_EPHEMERAL)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _listens(port: int) -> bool:
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
