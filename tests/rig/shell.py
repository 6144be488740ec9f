"""A user at a shell in a test: a directory, lists, and the program as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from rig.nixes import PYTHON_PATH
from rig.running import ScratchStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix
    from rig.forked import Forking

THREE_TARGETS: Final = """let one = name: derivation {
  inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo >$out" ];
}; in { a = one "a"; b = one "b"; c = one "c"; }"""
"""A file with three attributes that are quickly evaluated, and never built."""
COMMAND = [sys.executable, "-m", "mirror"]
_READ_AT_START: Final = ("PYTHON", "LANG", "LC_")
"""How the variables begin that Python looks at when it starts, and not again."""


@dataclass
class Shell:
    """A user with a directory of lists, a cache to ask and a store to evaluate in."""

    forking: Forking
    nix: Nix
    upstream: Upstream
    directory: Path
    evaluation: ScratchStore
    stores: list[ScratchStore] = field(default_factory=list)

    @property
    def command(self) -> list[str]:
        return COMMAND

    @property
    def store_url(self) -> str:
        """Where the program evaluates."""
        return self.evaluation.url

    def scratch_store(self, name: str) -> ScratchStore:
        """A store that is removed with the test."""
        self.stores.append(ScratchStore(self.directory / name))
        return self.stores[-1]

    def write_list(self, *lines: str) -> str:
        text = "\n".join(lines).replace("DEMO", f"path:{self.upstream.distribution}")
        (self.directory / "hosts.txt").write_text(f"{text}\n")
        return "hosts.txt"

    def arguments(self, *words: str, cache: str | None = None) -> list[str]:
        """A command that evaluates in the scratch store and asks the demo's cache."""
        return [
            *COMMAND,
            *words,
            *("--store", self.evaluation.url),
            *("--substituter", cache or self.upstream.cache_url),
            *("--trusted-key", self.upstream.public_key),
            "--no-archives",
        ]

    def environment(self, **more: str) -> dict[str, str]:
        return {**self.nix.environment, "PYTHONPATH": PYTHON_PATH, **more}

    def run(
        self, arguments: list[str], *, expect: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it as cron would, without a terminal; a traceback is never what a user sees.

        The program itself is run by a fork, unless Python is to have another ``environment``.
        """
        is_of_python = any(each.startswith(_READ_AT_START) for each in environment)
        if arguments[: len(COMMAND)] == COMMAND and not is_of_python:
            ended = self.forking.run(
                arguments[len(COMMAND) :],
                directory=self.directory,
                environment=self.environment(**environment),
            )
            completed = subprocess.CompletedProcess(
                arguments, ended.code, ended.stdout, ended.stderr
            )
        else:
            completed = subprocess.run(
                arguments,
                cwd=self.directory,
                env=self.environment(**environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        assert "Traceback" not in completed.stderr, completed.stderr
        assert completed.returncode == expect, completed.stderr
        return completed

    def json(self, arguments: list[str], *, expect: int = 0) -> Any:
        return json.loads(self.run(arguments, expect=expect).stdout)


@pytest.fixture
def shell(
    forking: Forking,
    nix_stable: Nix,
    upstream: Upstream,
    tmp_path: Path,
    scratch_store: ScratchStore,
) -> Iterator[Shell]:
    directory = tmp_path / "user"
    directory.mkdir()
    made = Shell(
        forking=forking,
        nix=nix_stable,
        upstream=upstream,
        directory=directory,
        evaluation=scratch_store,
    )
    yield made
    for store in made.stores:
        store.remove()
