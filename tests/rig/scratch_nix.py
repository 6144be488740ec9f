"""The installed Nix with a store of its own below a test's directory."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NEEDS_NIX = pytest.mark.skipif(shutil.which("nix-store") is None, reason="there is no Nix here")

_SETTINGS = """
build-users-group =
substituters =
sandbox = true
sandbox-paths = /bin/sh=/bin/busybox
experimental-features = nix-command flakes ca-derivations
"""


class ScratchNix:
    """Runs Nix's programs on an empty store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.url = f"local?root={self.root}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory / "home"),
            "NIX_CONFIG": _SETTINGS,
            "NIX_REMOTE": self.url,
        }

    def run(self, *command: str | Path) -> bytes:
        completed = subprocess.run(
            command, env=self.environment, capture_output=True, check=False, timeout=600
        )
        assert completed.returncode == 0, completed.stderr.decode()
        return completed.stdout

    def instantiate(self, expression: bytes) -> None:
        """Evaluate; the derivations are then in :attr:`store`."""
        file = self.directory / "expression.nix"
        file.write_bytes(expression)
        self.run("nix-instantiate", file)

    @property
    def store(self) -> Path:
        return self.root / "nix/store"
