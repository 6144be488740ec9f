"""The last line of a terminal, which is written again while something goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Final

from mirror.errors import printable
from mirror.masking import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

_COLUMNS: Final = 80
_PAUSE_SECONDS: Final = 0.1
"""How often the line is written at most."""
_TICK_SECONDS: Final = 1.0
"""How often it is written at least: a clock in it goes on while nothing happens."""
_ERASE: Final = "\r\x1b[K"


class LiveLine:
    """A line on standard error, as ``render`` gives it for a number of columns.

    ``render`` leaves the last column free: some terminals go to the next line when it is written.
    """

    def __init__(self, render: Callable[[int], str]) -> None:
        """Write it for the first time."""
        self._render = render
        self._written = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._tick()

    def changed(self) -> None:
        """Write it again, unless that was just done."""
        if time.monotonic() - self._written >= _PAUSE_SECONDS:
            self._write()

    def above(self, text: str) -> None:
        """Write a line that stays, above it."""
        _put(f"{_ERASE}{printable(without_secrets(text))}\n")
        self._write()

    def end(self) -> None:
        """Write it a last time; it stays."""
        if self._timer is not None:
            self._timer.cancel()
        self._write()
        _put("\n")

    def _tick(self) -> None:
        self._write()
        with contextlib.suppress(RuntimeError):  # nothing runs beside: nothing goes on, either
            self._timer = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)

    def _write(self) -> None:
        self._written = time.monotonic()
        columns = _columns() - 1
        line = printable(without_secrets(self._render(columns)))
        _put(f"{_ERASE}{line[:columns]}")


def _columns() -> int:
    """How wide the terminal is."""
    with contextlib.suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
    return _COLUMNS


def _put(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
