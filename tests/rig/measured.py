"""A command as a process of its own, and the most memory that it took.

What was measured is logged: ``pytest -n 0 -o log_cli=true -o log_cli_level=INFO`` shows it.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LOG: Final = logging.getLogger("figures")

_MEASURED: Final = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
open(sys.argv[1], "w").write(str(peak))
sys.exit(code)
"""
"""Runs a command. A small process does it: a child's peak counts from what its parent had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a command came to: its exit code, what it said, and what it took."""

    code: int
    said: str
    peak_bytes: int
    seconds: float


def measure(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> Measured:
    """Run a command to its end."""
    started = time.monotonic()
    with tempfile.NamedTemporaryFile("r") as peak:
        ended = subprocess.run(
            [sys.executable, "-c", _MEASURED, peak.name, *command],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        measured = Measured(
            code=ended.returncode,
            said=ended.stdout,
            peak_bytes=int(peak.read()) * 1024,
            seconds=time.monotonic() - started,
        )
    LOG.info("at most %.0f MB of memory, %.1f s", measured.peak_bytes / 1e6, measured.seconds)
    return measured
