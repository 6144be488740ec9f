"""The two versions of Nix that the tests run on.

*Stable* is the ``nix`` on PATH. *Newest* lives in a root of its own, which
``tools/install-newest-nix`` makes; small scripts of the same names enter it. Each version gets a
home directory, caches and settings of its own: none of the user's, and no substituter unless a test
names one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

from mirror.errors import ToolError
from mirror.nix.command import Nix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROJECT: Final = Path(__file__).resolve().parents[2]
PYTHON_PATH: Final = os.pathsep.join([str(PROJECT / "tests/rig/compared"), str(PROJECT)])
"""``PYTHONPATH`` of the program as a process: the documents that it writes are compared, too."""

PROGRAMS: Final = (
    *("nix", "nix-build", "nix-copy-closure", "nix-daemon", "nix-env", "nix-hash"),
    *("nix-instantiate", "nix-prefetch-url", "nix-shell", "nix-store"),
)
SETTINGS: Final = (
    "substituters =",
    "build-users-group =",
    "sandbox = true",
    "flake-registry =",
    "narinfo-cache-negative-ttl = 0",
    "narinfo-cache-positive-ttl = 0",
    "connect-timeout = 5",
)
"""What every process of Nix in the tests has in ``NIX_CONFIG``."""

_OURS: Final = (
    "NIX_CONFIG",
    "NIX_PATH",
    "NIX_REMOTE",
    "NIX_STORE",
    "NIX_STATE_DIR",
    "NIX_CONF_DIR",
)


_SETUP: Final = f"PREFETCH_TEST_TREE={shlex.quote(str(PROJECT))}\nexport PREFETCH_TEST_TREE\n"
_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"


def newest_root() -> Path:
    """Where the root with the newest Nix is, or would be."""
    named = os.environ.get("PREFETCH_NEWEST_NIX")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else cache / "prefetch/nix-newest"


def find_stable(home: Path) -> Nix:
    """The installed Nix; the test is skipped if there is none."""
    return _find(environment(home), "no Nix is installed: tools/install-nix installs it")


@contextlib.contextmanager
def newest(home: Path) -> Iterator[Nix]:
    """The newest Nix, by scripts in ``home``; the test is skipped if it is not there."""
    root = newest_root()
    absent = f"no newest Nix in {root}: tools/install-newest-nix puts it there"
    if not (root / "usr/bin/nix").exists():
        missing(absent)
    scripts = home / "bin"
    scripts.mkdir(parents=True)
    enter = shutil.copy(Path(__file__).with_name("enter_root.sh"), scripts / "enter-root")
    with _entering(["/bin/sh", str(enter), str(root)]) as before:
        for program in PROGRAMS:
            script = scripts / program
            script.write_text(f'#!/bin/sh\n{before} {program} "$@"\n')
            script.chmod(0o755)
        variables = environment(home)
        variables["PATH"] = f"{scripts}:{variables['PATH']}"
        yield _find(variables, absent)


@contextlib.contextmanager
def _entering(enter: Sequence[str]) -> Iterator[str]:
    """What a script has before a command, to run it in the root that ``enter`` enters.

    To make a mount namespace takes longer than what most commands do: there is one for all. Who is
    not root has one for each command, in a user namespace, since from one there is no way into
    another.
    """
    if os.geteuid() != 0:
        yield f"{_SETUP}exec unshare --user --map-root-user --mount {shlex.join(enter)}"
        return
    with subprocess.Popen(
        ["sh", "-c", f'{_SETUP}exec unshare --mount "$@"', "sh", *enter, "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as inside:
        assert inside.stdin is not None
        assert inside.stdout is not None
        inside.stdin.write("\n")
        inside.stdin.flush()
        if not inside.stdout.readline():
            pytest.fail(f"{shlex.join(enter)} failed")
        nsenter = f"{shutil.which('nsenter')} --target={inside.pid} --mount"
        # Entering leads to the root directory.
        yield f'PATH={_PATH}\nexport PATH\nexec {nsenter} env --chdir="$(pwd)"'
        inside.stdin.close()


def environment(home: Path) -> dict[str, str]:
    """This process's environment without its owner's settings of Nix; ``home`` is made."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return {
        **kept,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_DATA_HOME": str(home / "data"),
        "NIX_CONF_DIR": str(home / "config/none"),
        "NIX_CONFIG": "\n".join(SETTINGS),
    }


def _find(variables: dict[str, str], absent: str) -> Nix:
    try:
        return asyncio.run(Nix.find(variables))
    except ToolError as error:
        missing(f"{absent} ({error.message})")


def missing(reason: str) -> NoReturn:
    """Skip, or fail where everything has to be there."""
    if os.environ.get("PREFETCH_NO_SKIP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
