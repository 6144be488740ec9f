"""Temporary directories are gone after their run, and those of a killed run after the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.system.temporaries import remove_left_behind, temporary_directory

if TYPE_CHECKING:
    import pytest

IS_KILLED = """
import os, pathlib, signal, sys
from mirror.system.temporaries import temporary_directory

with temporary_directory(pathlib.Path(sys.argv[1])) as directory:
    (directory / "store").mkdir()
    (directory / "store/file").touch()
    (directory / "store").chmod(0o555)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    with temporary_directory(tmp_path) as directory:
        assert directory.parent == tmp_path
        (directory / "store").mkdir()
        (directory / "store/file").touch()
        (directory / "store").chmod(0o555)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    killed = subprocess.run([sys.executable, "-c", IS_KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    others = [tmp_path / name for name in ("prefetch-cache", "prefetch-run-of-mine", "other")]
    (tmp_path / "new").mkdir()
    being_made, abandoned = (tmp_path / f"prefetch-new-abcdefg{n}" for n in (1, 2))
    for directory in (*others, being_made, abandoned):
        directory.mkdir(exist_ok=True)
    os.utime(abandoned, (0, 0))
    (tmp_path / "prefetch-run-abcdefgh").symlink_to(others[0])
    (others[0] / "file").touch()
    with temporary_directory(tmp_path) as in_use:
        remove_left_behind(tmp_path)
        assert in_use.exists()
    assert not left.exists()
    assert not abandoned.exists()
    assert being_made.exists()
    assert (others[0] / "file").exists()
    assert all(each.exists() for each in others)


def test_a_place_that_is_not_there_has_nothing_left_behind(tmp_path: Path) -> None:
    remove_left_behind(tmp_path / "missing")
