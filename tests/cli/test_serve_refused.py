"""What ``prefetch serve`` makes of nonsense."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mirror.cli.commands import serve
from mirror.destinations import CacheDirectory
from mirror.errors import DestinationError, PrefetchError, RequestError, ToolError

if TYPE_CHECKING:
    from pathlib import Path

AS_SYSTEMD_DOES = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
ASK_FOR_SOCKETS = "import os, mirror.serve.http.systemd as s; s.inherited_sockets(os.environ)"


@pytest.mark.parametrize(
    ("handed", "said"),
    [
        ("3</dev/null", "not a socket"),
        ("3<&-", "not a socket"),
        ("3<&0", "does not accept connections"),
    ],
)
def test_what_systemd_cannot_have_meant_is_said(handed: str, said: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-c", ASK_FOR_SOCKETS]
        asked = subprocess.run(
            ["sh", "-c", f"{AS_SYSTEMD_DOES} {handed}", "sh", *command],
            stdin=theirs.fileno(),
            check=False,
            capture_output=True,
            text=True,
            timeout=200,
        )
    assert "ToolError: descriptor 3 is " in asked.stderr
    assert said in asked.stderr


@pytest.mark.parametrize(
    ("served", "address", "error", "said"),
    [
        ("cache", f"{'a' * 70}:80", ToolError, "cannot listen on a"),
        ("cache", "..:80", ToolError, r"cannot listen on \.\."),
        ("cache", f":{'9' * 5000}", RequestError, "not an address to listen on"),
        ("cache", "192.0.2.1:0", ToolError, "cannot listen on 192.0.2.1:0"),
        ("", ":0", RequestError, "not a destination: an empty name"),
        ("file", ":0", DestinationError, "there is no binary cache in .*/file"),
        (".", ":0", DestinationError, "there is no binary cache in"),
        ("nowhere", ":0", DestinationError, "there is no binary cache in .*/nowhere"),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_what_cannot_be_served_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    served: str,
    address: str,
    error: type[PrefetchError],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    async with CacheDirectory.open(tmp_path / "cache"):
        pass
    with pytest.raises(error, match=said):
        await serve.execute(served, store=False, listen_at=[address], priority=30, signing_key=None)
    assert {each.name for each in tmp_path.iterdir()} == {"cache", "file"}
