"""Completion, as a shell asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mirror import schemas
from mirror.cli import commands

if TYPE_CHECKING:
    from pathlib import Path


def completion_of(shell: str) -> str:
    """What is to be read by a shell when it starts."""
    command = [sys.executable, "-m", "mirror", "--show-completion", shell]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program under its own name."""
    path = tmp_path_factory.mktemp("bin") / "prefetch"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m mirror "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], {"rehearse"}),
        ([""], {*commands.SUMMARIES}),
        (["key", ""], {"generate", "show"}),
        (["sync", "--lev"], {"--level"}),
        (["sync", "--level", "r"], {"runtime", "rebuild"}),
        (["sync", ".#a", "--edits", "hosts,wi"], {"hosts,wifi", "hosts,wireguard"}),
        (["export", "--format", ""], {"closure-info", "paths", "dot"}),
        (["schema", ""], {*schemas.names()}),
        (["--show-completion", ""], {"bash", "zsh", "fish"}),
    ],
)
def test_bash_offers_what_there_is(
    program: Path, tmp_path: Path, words: list[str], offered: set[str]
) -> None:
    (tmp_path / "config.toml").write_text("not TOML at all")
    typed = " ".join(f"'{word}'" for word in ("prefetch", *words))
    script = f"""{completion_of("bash")}
COMP_WORDS=({typed}) COMP_CWORD={len(words)}
_prefetch_completion '{program}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    ran = subprocess.run(
        ["bash", "--norc", "-c", script],
        # Configuration is not looked at, however it is.
        env={**os.environ, "PREFETCH_CONFIG": str(tmp_path / "config.toml")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(ran.stdout.split()) == offered
    assert not ran.stderr


def test_each_shell_has_one_and_others_are_refused() -> None:
    scripts = {completion_of(shell) for shell in ("bash", "zsh", "fish")}
    assert len(scripts) == 3
    assert all("_PREFETCH_COMPLETE" in each for each in scripts)
    command = [sys.executable, "-m", "mirror", "--show-completion", "tcsh"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (refused.returncode, "bash, zsh, fish" in refused.stderr) == (2, True)
