"""The command line: parse, call one function, render. :func:`main` is the program."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Final

__all__ = ["INTERRUPTED", "end_at_once", "main"]

INTERRUPTED: Final = 130
"""The exit code of a run that was interrupted."""

_NOT_LOADED: Final = 3


def main() -> None:
    """Run the program. Until it has imported what it needs, an interruption ends it at once.

    Nor is garbage searched for until then, since all that is imported is kept.
    """
    gc.disable()
    # Whoever starts it in the background of a script has it ignore interruptions.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_at_once)
    try:
        from mirror.cli.app import main as program  # noqa: PLC0415 - only now, as said
        from mirror.cli.running import end_by  # noqa: PLC0415 - as above
    except (ImportError, MemoryError, OSError) as error:
        # There may be no memory for anything more.
        os.write(2, f"error: prefetch cannot be loaded: {str(error) or 'out of memory'}\n".encode())
        sys.exit(_NOT_LOADED)
    try:
        program()
    except Exception as error:  # noqa: BLE001 - what comes before a command runs
        sys.exit(end_by(error))


def end_at_once(*_: object) -> None:
    """Handle an interruption while there is nothing to be put in order: no traceback."""
    os._exit(INTERRUPTED)
