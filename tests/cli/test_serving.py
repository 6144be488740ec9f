"""``serve`` as a person or systemd starts it, and as they stop it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from rig.made_paths import chain, generation, put
from rig.nixes import PYTHON_PATH

from mirror.destinations import CacheDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVE = (sys.executable, "-m", "mirror", "serve")
AS_SYSTEMD_STARTS_IT = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="prefetch")
os.execv(sys.executable, [sys.executable, "-m", "mirror", "serve", sys.argv[1]])
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    async def make() -> None:
        async with CacheDirectory.open(tmp_path / "cache") as directory:
            links = chain(2)
            for made in links:
                await put(directory, made)
            await directory.keep(generation(links))

    asyncio.run(make())
    return tmp_path / "cache"


def start(*command: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        # As a person has it: Python buffers what it writes.
        env={**os.environ, "PYTHONUNBUFFERED": "", "PYTHONPATH": PYTHON_PATH, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def stopped(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> Iterator[list[str]]:
    """Ends the process with a signal; the list then has the lines it said until its end."""
    said: list[str] = []
    try:
        yield said
    finally:
        process.send_signal(number)
        _, rest = process.communicate(timeout=200)
        said += rest.splitlines()
    assert process.returncode == 0, said


def ask(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=200) as response:
        return bytes(response.read())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_serves_and_stops_when_told(cache: Path, number: int) -> None:
    process = start(*SERVE, str(cache), "--listen", "127.0.0.1:0", "--priority", "7")
    assert process.stderr is not None
    with stopped(process, number) as said:
        line = process.stderr.readline()
        assert line.startswith(f"serving {cache} at http://127.0.0.1:")
        assert b"Priority: 7\n" in ask(f"{line.split()[-1]}nix-cache-info")
    assert said == ["stopping: finishing the requests in progress"]


def test_systemd_hands_it_a_socket_and_hears_how_it_goes(cache: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(200)
        # Its path is short, as the kernel wants it, whatever the test's directory is called.
        address = f"\0prefetch-test-{os.getpid()}-{tmp_path.name}"
        systemd.bind(address)
        process = start(
            *(sys.executable, "-c", AS_SYSTEMD_STARTS_IT, str(cache)),
            NOTIFY_SOCKET=f"@{address[1:]}",
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with stopped(process):
            port = process.stdout.readline().strip()
            # The socket is there before the server is: this request waits for it.
            assert b"StoreDir" in ask(f"http://127.0.0.1:{port}/nix-cache-info")
            assert systemd.recv(100) == b"READY=1"
            assert process.stderr.readline().endswith(f"at http://127.0.0.1:{port}/\n")
        assert systemd.recv(100) == b"STOPPING=1"


def test_a_log_that_cannot_be_written_is_no_reason_to_stop(cache: Path) -> None:
    starting = start(
        *("sh", "-c", 'exec "$@" 2>/dev/full', "sh", sys.executable, "-c"),
        *(AS_SYSTEMD_STARTS_IT, str(cache)),
    )
    assert starting.stdout is not None
    with stopped(starting):
        port = int(starting.stdout.readline())
        for _ in range(2):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
                connection.request("POST", "/")
                assert connection.getresponse().status == HTTPStatus.METHOD_NOT_ALLOWED


def test_sockets_meant_for_another_process_are_left_alone(cache: Path) -> None:
    process = start(
        *(*SERVE, str(cache), "--listen", "127.0.0.1:0"), LISTEN_PID="1", LISTEN_FDS="1"
    )
    assert process.stderr is not None
    with stopped(process):
        assert "http://127.0.0.1:" in process.stderr.readline()


def test_more_connections_than_files_may_be_open_are_told_of_once(cache: Path) -> None:
    limited = ("sh", "-c", 'ulimit -n 40; exec "$@"', "sh")
    process = start(*limited, *SERVE, str(cache), "--listen", "127.0.0.1:0")
    assert process.stderr is not None
    with stopped(process) as said:
        url = process.stderr.readline().split()[-1].rstrip("/")
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(socket.create_connection(address, timeout=200))
            assert "Too many open files" in process.stderr.readline()
        assert b"StoreDir" in ask(f"{url}/nix-cache-info")
    assert said == ["stopping: finishing the requests in progress"]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ((), 2, "prefetch serve DIR"),
        (("DIR", "--store"), 2, "prefetch serve DIR"),
        (("DIR", "--listen", "nonsense:port"), 2, "nonsense:port"),
        (("DIR", "--listen", "127.0.0.1:99999"), 2, "99999"),
        (("DIR", "--listen", "TAKEN"), 3, ": Address already in use\n  is another program there?"),
        (("DIR", "--signing-key", "KEY"), 2, "KEY"),
        (("https://cache.nixos.org",), 2, "not a destination"),
    ],
)
def test_what_cannot_be_served_is_said(
    cache: Path, words: tuple[str, ...], code: int, expected: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        named = {"DIR": str(cache), "TAKEN": f"127.0.0.1:{port}", "KEY": str(cache / "KEY")}
        process = start(*SERVE, *(named.get(word, word) for word in words))
        _, said = process.communicate(timeout=200)
    assert process.returncode == code, said
    assert expected in said
    assert "Traceback" not in said
