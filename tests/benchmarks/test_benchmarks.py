"""The benchmarks run, and what they show of correctness holds at a small size, too."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_many_clients_are_all_answered_and_take_little_memory() -> None:
    """200 slow ones and 16 fast ones; how fast is not looked at, only what the server holds."""
    completed = subprocess.run(
        [sys.executable, "benchmarks/many_clients.py", "200", "16", "1"],
        cwd=PROJECT,
        env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    memory = [float(figure) for figure in re.findall(r"([0-9.]+) MB, \d+ open", completed.stdout)]
    at_rest, *under_way = memory
    assert len(under_way) == 2
    assert max(under_way) < at_rest + 40
    assert "with 200 slow ones" in completed.stdout


def test_every_comparison_can_be_made() -> None:
    """At a small size: what each side did has been checked by the commands themselves."""
    completed = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--small"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    _, _, *rows = completed.stdout.splitlines()
    assert len(rows) == 10
    for row in rows:
        assert float(row.split("|")[5]) > 0, row
