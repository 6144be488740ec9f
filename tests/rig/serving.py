"""The LAN server in a test, on loopback, and a client that sends what it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mirror.destinations import CacheDirectory, NixStore
from mirror.destinations.cache.at_rest.quarantine import PRIORITY
from mirror.serve.http.application import Application
from mirror.serve.http.server import Address, listen
from mirror.serve.library.cache_library import CacheLibrary
from mirror.serve.library.leases import LEASE_SECONDS
from mirror.serve.library.store_library import StoreLibrary
from mirror.serve.status.metrics import Counters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from mirror.formats.signing import SecretKey
    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation
    from mirror.serve.http.server import Server
    from mirror.serve.library.library import Library


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Served:
    """A running server: what it is asked, and the lines that it logged."""

    server: Server
    counters: Counters
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.urls[0]

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    async def ask(self, target: str, *, method: str = "GET", **headers: str) -> Reply:
        """One request over a connection of its own; the target is sent as it stands."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await asyncio.to_thread(self._ask, target, method, named)

    async def say(self, data: bytes, *, patience: float = 200) -> bytes:
        """Send bytes, and read all that comes until the server hangs up, or is silent so long."""
        return await asyncio.to_thread(self._say, data, patience)

    def _ask(self, target: str, method: str, headers: Mapping[str, str]) -> Reply:
        connection = http.client.HTTPConnection(*self.address, timeout=200)
        with contextlib.closing(connection):
            connection.putrequest(method, target, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())

    def _say(self, data: bytes, patience: float) -> bytes:
        said = b""
        with socket.create_connection(self.address, timeout=patience) as connection:
            # A server that has heard enough may hang up before it has read all.
            with contextlib.suppress(ConnectionError, TimeoutError):
                connection.sendall(data)
            with contextlib.suppress(ConnectionError, TimeoutError):
                while piece := connection.recv(1 << 16):
                    said += piece
        return said


@contextlib.asynccontextmanager
async def serve_library(library: Library) -> AsyncIterator[Served]:
    counters = Counters()
    log: list[str] = []
    application = Application(library, priority=PRIORITY, counters=counters, log=log.append)
    addresses = [Address("127.0.0.1", 0)]
    async with listen(
        application, counters, addresses=addresses, sockets=[], log=log.append
    ) as server:
        yield Served(server, counters, log)


@contextlib.asynccontextmanager
async def serve_directory(
    path: Path, *, lease_seconds: float = LEASE_SECONDS
) -> AsyncIterator[Served]:
    async with (
        CacheDirectory.open(path, exclusive=False) as directory,
        CacheLibrary.open(directory, directory.directory, lease_seconds=lease_seconds) as library,
        serve_library(library) as served,
    ):
        yield served


@contextlib.asynccontextmanager
async def serve_store(
    nix: Nix,
    store: StoreLocation,
    *,
    signing_key: SecretKey | None = None,
    all_paths: bool = False,
) -> AsyncIterator[Served]:
    async with (
        NixStore.open(nix, store, exclusive=False) as opened,
        StoreLibrary.open(
            opened, opened.store, nix, signing_key=signing_key, all_paths=all_paths
        ) as library,
        serve_library(library) as served,
    ):
        yield served
