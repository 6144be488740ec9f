"""The command line: parse, call one function, render. :func:`main` is the program."""

from __future__ import annotations

import gc
import os
import signal
from typing import Final

__all__ = ["INTERRUPTED", "end_at_once", "main"]

INTERRUPTED: Final = 130
"""The exit code of a run that was interrupted."""


def main() -> None:
    """Run the program. Until it has imported what it needs, an interruption ends it at once.

    Nor is garbage searched for until then, since all that is imported is kept.
    """
    gc.disable()
    # Whoever starts it in the background of a script has it ignore interruptions.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_at_once)
    from mirror.cli.app import main as program  # noqa: PLC0415 - only now, as said

    program()


def end_at_once(*_: object) -> None:
    """Handle an interruption while there is nothing to be put in order: no traceback."""
    os._exit(INTERRUPTED)
