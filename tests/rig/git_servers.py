"""Git repositories over HTTP on loopback, as servers of all kinds give them.

A URL is ``http://127.0.0.1:PORT/KIND/NAME.git``. What the kinds are is in :data:`KINDS`.
"""

from __future__ import annotations

import os
import subprocess
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import unquote

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_ALL: Final = {"uploadpack.allowAnySHA1InWant": "true", "uploadpack.allowFilter": "true"}
KINDS: Final[dict[str, dict[str, str] | None]] = {
    "all": _ALL,
    "plain": {},
    "old-all": _ALL,
    "old": {},
    "dumb": None,
}
"""The server's settings. ``old`` ones know protocol version 0 only; ``dumb`` gives plain files."""

NOBODYS: Final = {
    "PATH": os.environ["PATH"],
    "HOME": "/nowhere",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
}
"""An environment for git in which nothing is anybody's."""


def as_variables(settings: dict[str, str]) -> dict[str, str]:
    """Settings as git takes them from its environment."""
    return {"GIT_CONFIG_COUNT": str(len(settings))} | {
        f"GIT_CONFIG_{part}_{number}": text
        for number, setting in enumerate(settings.items())
        for part, text in zip(("KEY", "VALUE"), setting, strict=True)
    }


class _Serving:
    """A server in a thread; a context manager."""

    scheme = "http"

    def __init__(self, server: ThreadingTCPServer | ThreadingHTTPServer) -> None:
        self._server = server
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        address, port, *_ = self._server.server_address
        return f"{self.scheme}://{address!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class GitServers(_Serving):
    """All kinds of servers of the bare repositories in a directory."""

    def __init__(self, directory: Path, *, address: str = "127.0.0.1") -> None:
        super().__init__(ThreadingHTTPServer((address, 0), partial(_Handler, directory)))


class GitDaemon(_Serving):
    """``git daemon``, as a super-server runs it, for the bare repositories in a directory."""

    scheme = "git"

    def __init__(self, directory: Path, *, address: str = "127.0.0.1") -> None:
        super().__init__(ThreadingTCPServer((address, 0), partial(_Daemon, directory)))


class _Daemon(BaseRequestHandler):
    def __init__(self, directory: Path, *arguments: Any) -> None:
        self._directory = directory
        super().__init__(*arguments)

    def handle(self) -> None:
        words = ("daemon", "--inetd", "--export-all", f"--base-path={self._directory}")
        streams = {"stdin": self.request, "stdout": self.request, "stderr": subprocess.DEVNULL}
        subprocess.run(["git", *words], env=NOBODYS, **streams, check=False)


class _Handler(BaseHTTPRequestHandler):
    """``git http-backend`` as a CGI program, or plain files."""

    def __init__(self, directory: Path, *arguments: Any) -> None:
        self._directory = directory
        super().__init__(*arguments)

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        kind, _, inside = unquote(path).lstrip("/").partition("/")
        settings = KINDS.get(kind, {})
        if settings is None:
            self._give(self._directory / inside)
        else:
            self._run(kind, f"/{inside}", query, settings)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _give(self, file: Path) -> None:
        is_there = file.is_file()
        self.send_response(200 if is_there else 404)
        self.end_headers()
        if is_there:
            self.wfile.write(file.read_bytes())

    def _run(self, kind: str, path: str, query: str, settings: dict[str, str]) -> None:
        size = int(self.headers.get("Content-Length", 0))
        environment = {
            **NOBODYS,
            **as_variables(settings),
            "GIT_PROJECT_ROOT": str(self._directory),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        if not kind.startswith("old"):
            environment["GIT_PROTOCOL"] = self.headers.get("Git-Protocol", "")
        completed = subprocess.run(
            ["git", "http-backend"],
            env=environment,
            input=self.rfile.read(size),
            capture_output=True,
            check=False,
        )
        head, _, body = completed.stdout.partition(b"\r\n\r\n")
        headers = [line.partition(": ") for line in head.decode().split("\r\n") if line]
        status = next((text for name, _, text in headers if name == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for name, _, text in headers:
            if name != "Status":
                self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)
