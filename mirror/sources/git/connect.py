"""A connection for a ``git://`` address through the tunnel, on the standard streams.

Git runs this by itself, as ``connect.py HOST PORT`` (its ``core.gitProxy``). The tunnel's URL is in
the environment; :mod:`mirror.sources.git.tunnel` is its other end.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from urllib.parse import urlsplit

TUNNEL = "PREFETCH_GIT_TUNNEL"
"""The environment variable that has the tunnel's URL."""

_PIECE = 1 << 16
_ANSWERS = b"\5\2\1\0\5\0"
"""Of who is willing, believes the password, and has connected; addresses of no interest follow."""


def main(host: str, port: str) -> None:
    """Hand on what comes in to ``host``, and what that sends.

    Raises:
        OSError: there is no connection to be had.

    """
    tunnel = urlsplit(os.environ[TUNNEL])
    user, password, name = (
        bytes((len(text), *text.encode()))
        for text in (tunnel.username or "", tunnel.password or "", host)
    )
    with socket.create_connection((tunnel.hostname, tunnel.port)) as there:
        there.sendall(b"\5\1\2\1" + user + password)
        there.sendall(b"\5\1\0\3" + name + int(port).to_bytes(2, "big"))
        answer = there.recv(14, socket.MSG_WAITALL)
        if not answer.startswith(_ANSWERS):
            raise ConnectionRefusedError(f"no way to {host}")
        threading.Thread(target=_send, args=(there,), daemon=True).start()
        while piece := there.recv(_PIECE):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


def _send(there: socket.socket) -> None:
    while piece := os.read(0, _PIECE):
        there.sendall(piece)
    there.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as error:
        sys.exit(str(error))
