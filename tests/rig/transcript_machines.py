"""Machines for transcripts: a home, settings and a store of Nix's, and a shell.

A page has what a reader would type and see: ``/srv/cache``, ``http://laptop.lan:8080``. In a test
these are a directory and a port of its own. :class:`Names` says which, in both directions.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rig.nixes import PYTHON_PATH
from rig.running import NO_NETWORK, ScratchStore
from rig.terminal import at_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix

UPSTREAM: Final = "https://cache.example.org"
SERVED: Final = "laptop.lan:8080"
HOME: Final = "/home/alice"
STICK: Final = "/media/stick"
"""A directory that is carried from machine to machine."""
_PLACES: Final = (HOME, "/srv", "/etc/nix")
"""Directories of which each machine has its own."""


@dataclass
class Names:
    """What is called otherwise in a page: addresses, and what was printed before and is pasted."""

    upstream: str
    port: int
    paths: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def typed(self, command: str, root: Path) -> str:
        """A page's command, as it is run on the machine below ``root``."""
        command = command.replace(SERVED, f"127.0.0.1:{self.port}")
        command = command.replace("--listen :8080", f"--listen :{self.port}")
        command = re.sub(r"/nix/store/[0-9a-z]{32}(-[\w.+-]+)", self._path, command)
        command = re.sub(r"([\w.-]+):[A-Za-z0-9+/]{43}=", self._key, command)
        for place in _PLACES:
            command = re.sub(rf"(?<![\w.])(?<!\w/){place}\b", f"{root}{place}", command)
        return command.replace(STICK, f"{root.parent}{STICK}")

    def printed(self, text: str, root: Path) -> str:
        """What was printed there, as the page has it."""
        for found in re.finditer(r"(/nix/store/[0-9a-z]{32})(-[\w.+-]+)", text):
            self.paths.setdefault(found[2], found[0])
        for found in re.finditer(r"([\w.-]+):[A-Za-z0-9+/]{43}=", text):
            self.keys[found[1]] = found[0]
        text = text.replace(self.upstream, UPSTREAM)
        text = text.replace(f"127.0.0.1:{self.port}", SERVED).replace(f":{self.port}", ":8080")
        text = text.replace(f"local?root={root}", "auto")
        return text.replace(str(root), "").replace(str(root.parent), "")

    def _path(self, found: re.Match[str]) -> str:
        return self.paths[found[1]]

    def _key(self, found: re.Match[str]) -> str:
        return self.keys[found[1]]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended; at a terminal, ``stderr`` is part of ``stdout``."""

    code: int
    stdout: str
    stderr: str = ""


@dataclass
class TranscriptMachine:
    """A machine below ``root``: where a page's ``/srv`` is, and the store of its Nix."""

    root: Path
    nix: Nix
    names: Names
    has_nix: bool = True

    @classmethod
    def make(
        cls, root: Path, nix: Nix, upstream: Upstream, names: Names, *settings: str, has_nix: bool
    ) -> TranscriptMachine:
        """A clean machine whose Nix knows the demo's cache, and no other."""
        for place in _PLACES:
            (root / place[1:]).mkdir(parents=True)
        (root.parent / STICK[1:]).mkdir(parents=True, exist_ok=True)
        lines = (
            *("build-users-group =", "sandbox = true", "flake-registry ="),
            "experimental-features = nix-command flakes",
            f"substituters = {upstream.cache_url}",
            f"trusted-public-keys = {upstream.public_key}",
            *settings,
        )
        (root / "etc/nix/nix.conf").write_text("".join(f"{line}\n" for line in lines))
        programs = root / "bin"
        programs.mkdir()
        script = f'#!/bin/sh\nexec {sys.executable} -m mirror "$@"\n'
        (programs / "prefetch").write_text(script)
        (programs / "prefetch").chmod(0o755)
        return cls(root=root, nix=nix, names=names, has_nix=has_nix)

    @property
    def home(self) -> Path:
        return self.root / HOME[1:]

    @property
    def environment(self) -> Mapping[str, str]:
        path = (
            f"{self.root}/bin:{self.nix.environment['PATH']}"
            if self.has_nix
            else (self._without_nix())
        )
        return {
            **self.nix.environment,
            "PATH": path,
            "PYTHONPATH": PYTHON_PATH,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_STATE_HOME": str(self.home / ".local/state"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "NIX_CONF_DIR": str(self.root / "etc/nix"),
            "NIX_CONFIG": "",
            "NIX_REMOTE": f"local?root={self.root}",
            # The archives of the world have nothing of the demo's.
            **{f"PREFETCH_{each}_NO_ARCHIVES": "1" for each in ("PLAN", "SYNC", "VERIFY")},
        }

    def run(self, command: str, *, at_a_terminal: bool, offline: bool) -> Ended:
        """Run a page's command to its end; what it printed, as the page would have it."""
        words = [*(NO_NETWORK if offline else ()), "sh", "-c", self.names.typed(command, self.root)]
        if at_a_terminal:
            code, written = at_terminal(
                words, directory=self.home, environment=self.environment, columns=80
            )
            return Ended(code=code, stdout=self.names.printed(written, self.root))
        ended = subprocess.run(
            words,
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(
            code=ended.returncode,
            stdout=self.names.printed(ended.stdout, self.root),
            stderr=self.names.printed(ended.stderr, self.root),
        )

    @contextlib.contextmanager
    def running(self, command: str) -> Iterator[str]:
        """Run a page's command as long as the context lasts; the line that it begins with."""
        with subprocess.Popen(
            ["sh", "-c", f"exec {self.names.typed(command, self.root)}"],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            yield self.names.printed(process.stderr.readline(), self.root)
            process.send_signal(signal.SIGINT)
            process.stderr.read()
        assert process.returncode == 0

    def retyped(self, command: str) -> str:
        """A page's command with what was to be pasted now."""
        return self.names.printed(self.names.typed(command, self.root), self.root)

    def remove(self) -> None:
        """Remove its store, read-only as it is."""
        ScratchStore(self.root).remove()

    def _without_nix(self) -> str:
        programs = self.root / "bin"
        for name in ("sh", "ls", "cat", "cp", "mkdir", "git"):
            found = shutil.which(name)
            assert found is not None
            with contextlib.suppress(FileExistsError):
                (programs / name).symlink_to(found)
        return str(programs)
