"""What the units' commands do is no more than the units let them: see :mod:`rig.confined`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.nixes import PROJECT, PYTHON_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig.shell import Shell

UNIT = PROJECT / "docs/systemd/prefetch-sync.service"
TRIES = """
import mmap, os, socket, sys
from pathlib import Path

def refused(action):
    try:
        action()
    except OSError as error:
        return error.strerror
    return None

here = Path(sys.argv[1], "file")
here.touch()
print([
    refused(lambda: Path("/etc/prefetch-was-here").touch()),
    refused(lambda: os.chown(here, 1, 1)),
    refused(lambda: here.chmod(0o4755)),
    refused(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),
    refused(lambda: socket.socket(socket.AF_NETLINK)),
    refused(lambda: socket.socket(socket.AF_INET).close()),
])
"""
NOT_PERMITTED = "Operation not permitted"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, and starts a daemon as root")


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


def confined(directory: Path, *command: str) -> list[str]:
    return [
        "unshare",
        "--mount",
        sys.executable,
        "-m",
        "rig.confined",
        str(UNIT),
        str(directory),
        *command,
    ]


@as_root
def test_what_the_unit_denies_is_refused_here_too(tmp_path: Path) -> None:
    completed = subprocess.run(
        confined(tmp_path, sys.executable, "-c", TRIES, str(tmp_path)),
        env={**os.environ, "PYTHONPATH": str(PROJECT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.stdout == f"{['Read-only file system', *[NOT_PERMITTED] * 4, None]}\n", (
        completed.stderr
    )


@as_root
async def test_a_sync_takes_no_more_than_its_unit_lets_it(
    shell: Shell, tmp_path: Path, stack: contextlib.ExitStack
) -> None:
    name = shell.write_list(
        "laptop = DEMO#laptop edits=hosts",
        "editor = DEMO#editor level=sources",
    )
    state = shell.directory / "state"
    (state / "tmp").mkdir(parents=True)
    # By a short name: the recorder's socket would not fit below a long one, and go to /tmp, which
    # the unit has for itself and this test has not.
    links = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (links / "tmp").symlink_to(state / "tmp")
    socket = tmp_path / "socket"
    variables = {"NIX_REMOTE": shell.store_url, "NIX_DAEMON_SOCKET_PATH": str(socket)}
    words = shell.arguments("sync", name, "--to", "cache", "--build", "--json")
    words[words.index(shell.store_url)] = f"unix://{socket}?root={shell.evaluation.directory}"
    async with shell.nix.process(["nix-daemon", "--daemon"], environment=variables) as daemon:
        while not socket.exists() and daemon.returncode is None:  # noqa: ASYNC110 - not ours to signal
            await asyncio.sleep(0.01)
        synced = shell.run(
            confined(shell.directory, "sh", "-c", 'umask 077 && exec "$@"', "sh", *words),
            PYTHONPATH=os.pathsep.join([PYTHON_PATH, str(PROJECT / "tests")]),
            HOME=str(state),
            TMPDIR=str(links / "tmp"),
            XDG_CACHE_HOME=str(state / "cache"),
            XDG_STATE_HOME=str(state / "state"),
        )
    outcomes = json.loads(synced.stdout)["outcomes"]
    assert [each for each in outcomes if each["result"] == "failed"] == []
    # Of a repository, by git; and the system itself, which the daemon built.
    sources = {each["source"] for each in outcomes if each["result"] == "stored"}
    for end in ("/git/editor.git", "-nixos-system-laptop"):
        assert any(source.endswith(end) for source in sources), sorted(sources)
