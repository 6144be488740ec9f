"""A run that is killed leaves no process, also where Nix computes, and looks at no signal."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Final

import pytest
from rig.marked import VARIABLE, await_processes, left_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig.running import ScratchStore

    from mirror.nix.command import Nix

FOR_EVER: Final = """
let
  many = builtins.genList (n: n) 1000;
  all = f: builtins.foldl' (sum: n: sum + f n) 0 many;
in
{ x = all (_: all (_: all (_: all (n: n)))); }
"""
INSTANTS: Final = (0.0, 0.3, 0.6, 0.9, 1.2, 1.5)
"""Seconds after which a run is killed: while it starts, and while it starts others."""
BUSY: Final = 4


@pytest.fixture
def busy() -> Iterator[None]:
    """More processes that compute than there are processors for."""
    with contextlib.ExitStack() as stack:
        for _ in range(BUSY):
            process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


@contextlib.contextmanager
def planning(nix: Nix, directory: Path, store: ScratchStore) -> Iterator[tuple[int, str]]:
    """A run that plans what takes for ever to evaluate: its process, and the mark of all of its."""
    (directory / "for-ever.nix").write_text(FOR_EVER)
    (directory / "hosts.txt").write_text("x = ./for-ever.nix#x\n")
    mark = uuid.uuid4().hex
    arguments = ["plan", "hosts.txt", "--to", "cache", "--store", store.url]
    with subprocess.Popen(
        [sys.executable, "-m", "mirror", *arguments],
        cwd=directory,
        env={**nix.environment, "PYTHONPATH": os.getcwd(), VARIABLE: mark},  # noqa: PTH109
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process.pid, mark
        finally:
            process.kill()


def is_evaluating(found: dict[int, str]) -> bool:
    return any(" eval --json" in words for words in found.values())


def test_no_evaluation_outlives_a_killed_run(
    any_nix: Nix, tmp_path: Path, scratch_store: ScratchStore
) -> None:
    with planning(any_nix, tmp_path, scratch_store) as (run, mark):
        assert is_evaluating(await_processes(mark, is_evaluating))
        time.sleep(0.3)  # it has begun to compute
        os.kill(run, signal.SIGKILL)
    assert left_of(mark) == {}


def test_nothing_outlives_a_run_that_is_killed_at_any_time_on_a_busy_machine(
    busy: None, nix_stable: Nix, tmp_path: Path, scratch_store: ScratchStore
) -> None:
    del busy
    marks = []
    for seconds in INSTANTS:
        with planning(nix_stable, tmp_path, scratch_store) as (run, mark):
            time.sleep(seconds)
            os.kill(run, signal.SIGKILL)
        marks.append(mark)
    assert [left_of(mark) for mark in marks] == [{}] * len(marks)


def test_an_interrupted_evaluation_ends_too(
    nix_stable: Nix, tmp_path: Path, scratch_store: ScratchStore
) -> None:
    with planning(nix_stable, tmp_path, scratch_store) as (run, mark):
        assert is_evaluating(await_processes(mark, is_evaluating))
        os.kill(run, signal.SIGTERM)
        assert left_of(mark) == {}
