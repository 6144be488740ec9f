"""``sync`` killed at random times of a real run, into each destination.

PREFETCH_KILLS says how often; the times are drawn with a seed that is the same each time.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from typing import TYPE_CHECKING, Final

import pytest
from rig.killed import Launcher
from rig.published import read_by_nix
from rig.running import ScratchStore, instantiate, run
from rig.shell import shell
from rig.thorough import thorough_after_the_first

from mirror.formats.narinfo import parse_narinfo

if TYPE_CHECKING:
    from pathlib import Path

    from rig.shell import Shell

__all__ = ["shell"]

KILLS: Final = int(os.environ.get("PREFETCH_KILLS", "6"))
MANIFEST: Final = "-prefetch-it-1.json"


class Cache:
    """A cache directory as Nix reads it."""

    def __init__(self, shell: Shell, directory: Path) -> None:
        self.nix = shell.nix
        self.directory = directory
        self.name = str(directory)

    def look_at(self) -> None:
        """What is published is whole; so is what is kept."""
        paths: set[str] = set()
        if (self.directory / "nix-cache-info").exists():
            paths = read_by_nix(self.nix, self.directory)
        kept = self.directory / "generations/it/1.json"
        assert not kept.exists() or paths == self.content()

    def content(self) -> set[str]:
        files = self.directory.glob("*.narinfo")
        return {parse_narinfo(each.read_bytes()).info.path for each in files}

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


class Store:
    """A Nix store; ``look_at`` collects its garbage every other time."""

    def __init__(self, shell: Shell, directory: Path) -> None:
        self.nix = shell.nix
        self.store = ScratchStore(directory)
        self.directory = directory
        self.name = self.store.url
        self.is_collected = False

    def look_at(self) -> None:
        schema = self.directory / "nix/var/nix/db/schema"
        if not schema.exists() or schema.stat().st_size == 0:
            return  # Nix had not made it yet
        self._verify()
        self.is_collected = not self.is_collected
        if self.is_collected:
            run(self.nix, "nix-store", "--gc", store=self.store)
            self._verify()
        for link in self.directory.glob("nix/var/nix/gcroots/prefetch/it-*"):
            kept = ("nix-store", "--query", "--requisites", str(link.readlink()))
            assert len(run(self.nix, *kept, store=self.store).stdout.split()) > 1

    def content(self) -> set[str]:
        run(self.nix, "nix-store", "--gc", store=self.store)
        self._verify()
        paths = run(self.nix, "nix", "path-info", "--all", store=self.store).stdout.split()
        # What this is called depends on when it was made.
        return {each for each in paths if not each.endswith(MANIFEST)}

    def remove(self) -> None:
        self.store.remove()

    def _verify(self) -> None:
        verified = run(self.nix, *("nix-store", "--verify", "--check-contents"), store=self.store)
        assert "modified" not in verified.stderr


@pytest.mark.parametrize("kind", thorough_after_the_first([Cache, Store]))
@pytest.mark.timeout(900 + 30 * KILLS)
def test_sync_can_be_killed_at_any_time(shell: Shell, kind: type[Cache | Store]) -> None:
    attribute = "packages.x86_64-linux.curl"
    derivation = instantiate(
        shell.nix, shell.upstream.distribution, attribute, store=shell.evaluation
    )
    shell.write_list(f"it = {derivation.partition('!')[0]} level=full")
    temporary = shell.directory / "temporary"
    temporary.mkdir()
    destination = kind(shell, shell.directory / "to")
    sync = shell.arguments("sync", "hosts.txt", "--to", destination.name)[len(shell.command) :]
    variables = shell.environment(TMPDIR=str(temporary))
    drawn = random.Random(2026)
    killed_early = 0
    with Launcher.start(
        destination.directory, cwd=shell.directory, environment=variables
    ) as program:
        whole = program.run(sync)
        assert whole.code == 0, whole.output
        expected = destination.content()
        for number in range(KILLS):
            destination.remove()
            killed = program.run(
                sync,
                kill_after=drawn.uniform(0, whole.seconds),
                with_children=number % 4 == 3,
            )
            assert killed.was_killed or killed.code == 0, killed.output
            assert not killed.left, "what it had started ended with it"
            killed_early += killed.was_killed
            destination.look_at()
            again = program.run(sync)
            assert again.code == 0, again.output
            assert ", complete" in again.output or "nothing new" in again.output
            assert destination.content() == expected
    destination.remove()
    sys.stdout.write(f"{destination.name}: {killed_early} of {KILLS} before the run had ended\n")
    assert killed_early
    assert not list(temporary.iterdir()), "nothing that killed runs left is left after the next"
