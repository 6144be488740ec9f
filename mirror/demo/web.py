"""A web server for the demo's upstream: the files of one directory, on loopback.

It gives whole files over persistent connections and keeps the list of what it was asked for. It is
for an audience of one machine; ``prefetch serve`` is the server for others.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import shutil
import socket
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServer:
    """A running server; ``requests`` grows by ``GET /some/path`` with each request."""

    url: str
    requests: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def serve_directory(directory: Path) -> AsyncIterator[WebServer]:
    """Serve ``directory`` on a free port of loopback until the context is left.

    Leaving it also ends the connections that clients keep open.
    """
    server = _Server(("127.0.0.1", 0), directory)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield WebServer(
            url=f"http://127.0.0.1:{server.server_address[1]}", requests=server.requests
        )
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        server.end_connections()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], directory: Path) -> None:
        self.directory = directory
        self.requests: list[str] = []
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        assert isinstance(request, socket.socket)
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that disconnects early."""

    def end_connections(self) -> None:
        with self._guard:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave in one segment, at once: a client asks for thousands of small files.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        place = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {place}")
        file = self.server.directory / place.lstrip("/")
        if ".." in Path(place).parts or not file.is_file():
            self.send_response(HTTPStatus.NOT_FOUND)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(file.stat().st_size))
        self.end_headers()
        if body:
            with file.open("rb") as content:
                shutil.copyfileobj(content, self.wfile)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: the list of requests is the log."""
