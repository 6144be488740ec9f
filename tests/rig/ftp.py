"""An ftp server on loopback, as far as a download goes: passive mode, one file after the other."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class _Session(socketserver.StreamRequestHandler):
    files: ClassVar[Mapping[str, bytes]] = {}
    said: ClassVar[Mapping[str, str]] = {
        "USER": "230 come in",
        "PWD": '257 "/"',
        "TYPE": "200 so be it",
        "QUIT": "221 farewell",
    }

    def setup(self) -> None:
        super().setup()
        self._directory = "/"
        self._data: socket.socket | None = None

    def handle(self) -> None:
        self._say("220 here")
        with contextlib.suppress(ConnectionError):
            while line := self.rfile.readline():
                command, _, argument = line.decode().strip().partition(" ")
                answer = getattr(self, f"_{command.lower()}", None)
                self._say(answer(argument) if answer else self.said.get(command, "502 not known"))

    def finish(self) -> None:
        super().finish()
        if self._data is not None:
            self._data.close()

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def _path(self, argument: str) -> str:
        return argument if argument.startswith("/") else f"{self._directory}{argument}"

    def _cwd(self, argument: str) -> str:
        self._directory = self._path(argument).rstrip("/") + "/"
        return "250 there"

    def _size(self, argument: str) -> str:
        contents = self.files.get(self._path(argument))
        return "550 no such file" if contents is None else f"213 {len(contents)}"

    def _pasv(self, _: str) -> str:
        self._data = socket.create_server(("127.0.0.1", 0))
        high, low = divmod(self._data.getsockname()[1], 256)
        return f"227 to (127,0,0,1,{high},{low})"

    def _retr(self, argument: str) -> str:
        contents = self.files.get(self._path(argument))
        if contents is None or self._data is None:
            return "550 no such file"
        self._say(f"150 {len(contents)} bytes")
        with self._data, self._data.accept()[0] as receiver:
            receiver.sendall(contents)
        return "226 that was it"


@contextlib.contextmanager
def ftp_server(files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve ``files``, by their absolute paths, to anybody; gives the server's URL."""
    session = type("Session", (_Session,), {"files": files})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), session) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"ftp://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
