"""A program at a terminal: a pseudo-terminal of so many columns, and all that is printed there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_ROWS = 40


def at_terminal(
    command: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    columns: int = 80,
) -> tuple[int, str]:
    """Run a program as a person does; its exit code, and what it wrote, with plain line ends."""
    ours, its = os.openpty()
    try:
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
        process = subprocess.Popen(
            command,
            stdin=its,
            stdout=its,
            stderr=its,
            cwd=directory,
            env={**environment, "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(its)
        its = -1
        written = bytearray()
        # A terminal that nobody has open any more is an error to Linux, not an end.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 1 << 16):
                written += piece
        return process.wait(), written.decode().replace("\r\n", "\n")
    finally:
        for each in (ours, its):
            if each >= 0:
                os.close(each)
