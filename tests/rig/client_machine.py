"""A client of a mirror: a machine whose Nix has settings of the system's and of the user's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from rig.running import ScratchStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.nix.command import Nix
    from rig.forked import Forking

_BASE: Final = ("build-users-group =", "sandbox = true", "flake-registry =", "substituters =")
_FORGETFUL: Final = ("narinfo-cache-negative-ttl = 0", "narinfo-cache-positive-ttl = 0")
_PATIENCE: Final = 60


@dataclass
class ClientMachine:
    """``nix`` as its user has it, with a ``store``; what it is told is written into files."""

    forking: Forking
    nix: Nix
    directory: Path
    store: ScratchStore
    remote: str
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def system_file(self) -> Path:
        return self.directory / "etc/nix.conf"

    @property
    def user_file(self) -> Path:
        return self.directory / "config/nix/nix.conf"

    def configure(self, *system: str, user: tuple[str, ...] = ()) -> None:
        """Write what the system's settings have, and the user's."""
        for file, lines in (
            (self.system_file, (*_BASE, *_FORGETFUL, *system)),
            (self.user_file, user),
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{line}\n" for line in lines))

    @property
    def environment(self) -> dict[str, str]:
        return {
            **self.nix.environment,
            "NIX_CONF_DIR": str(self.system_file.parent),
            "XDG_CONFIG_HOME": str(self.directory / "config"),
            "NIX_CONFIG": "",
            "NIX_REMOTE": self.remote,
        }

    def start_daemon(self) -> None:
        """Have a daemon open the store, with the system's settings; the user goes through it.

        One that was started before is ended: a daemon reads its settings when it starts.
        """
        self.stack.close()
        socket = self.directory / "socket"
        socket.unlink(missing_ok=True)
        program = shutil.which("nix-daemon", path=self.nix.environment["PATH"])
        assert program is not None
        daemon = self.stack.enter_context(
            subprocess.Popen(
                [program],
                env={
                    **self.environment,
                    "NIX_REMOTE": self.store.url,
                    "NIX_USER_CONF_FILES": "",
                    "NIX_DAEMON_SOCKET_PATH": str(socket),
                },
                stderr=subprocess.DEVNULL,
            )
        )
        self.stack.callback(daemon.kill)
        for _ in range(_PATIENCE * 10):
            if socket.exists():
                break
            time.sleep(0.1)
        self.remote = f"unix://{socket}"

    async def probe(self, *words: str, expect: int, said: str = "") -> str:
        """What ``prefetch probe`` prints; ``said`` is part of its standard error."""
        arguments = ["probe", *words]
        ended = await asyncio.to_thread(
            self.forking.run, arguments, directory=self.directory, environment=self.environment
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        assert ended.code == expect, (ended.code, ended.stdout, ended.stderr)
        assert said in ended.stderr
        return ended.stdout

    async def document(self, *words: str, expect: int) -> Any:
        return json.loads(await self.probe(*words, "--json", expect=expect))

    async def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """What a shell says to lines that were pasted into it."""
        return await asyncio.to_thread(
            subprocess.run,
            ["sh", "-c", command],
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(forking: Forking, any_nix: Nix, tmp_path: Path) -> Iterator[ClientMachine]:
    """A machine whose user opens the store directly, and that knows of no cache."""
    directory = tmp_path / "client"
    directory.mkdir()
    store = ScratchStore(directory / "store")
    made = ClientMachine(
        forking=forking, nix=any_nix, directory=directory, store=store, remote=store.url
    )
    made.configure()
    with made.stack:
        yield made
    store.remove()
