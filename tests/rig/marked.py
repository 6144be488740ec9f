"""Processes that are told by a variable of their environment, whoever their parent is by now."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE: Final = "PREFETCH_TEST_MARK"
PATIENCE: Final = 60.0
"""So many seconds what was to end has for it, however busy the machine is."""


def marked(mark: str) -> dict[int, str]:
    """The processes that run with this mark, each with its command line."""
    wanted = f"{VARIABLE}={mark}".encode()
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (directory / "environ").read_bytes().split(b"\0"):
                words = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(directory.name)] = words.strip()
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def await_processes(mark: str, are_right: Callable[[dict[int, str]], bool]) -> dict[int, str]:
    """Wait until the marked processes are as wanted, or for too long; what they are then."""
    end = time.monotonic() + PATIENCE
    while not are_right(found := marked(mark)) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def left_of(mark: str) -> dict[int, str]:
    """What is left of the marked processes after they had time to end."""
    return await_processes(mark, lambda found: not found)
