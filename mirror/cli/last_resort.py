"""What is said of an error that nothing below has made one of prefetch's own.

What the system refuses, of whatever file, is one line and exit code 3. Anything else is a fault of
prefetch itself: that is said, too, with how to have the traceback.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from typing import Final

from mirror.errors import DestinationError, PrefetchError

TRACEBACK: Final = "PREFETCH_TRACEBACK"
"""The variable of the environment that has the traceback of a fault shown, if set to 1."""
_LONGEST: Final = 300
_NO_THREAD: Final = "can't start new thread"


class FaultError(PrefetchError):
    """Prefetch itself is wrong."""

    exit_code = 3


def is_interruption(error: BaseException) -> bool:
    """Whether it tells of nothing but that the user has ended the run."""
    return all(
        isinstance(each, KeyboardInterrupt | asyncio.CancelledError) for each in leaves(error)
    )


def leaves(error: BaseException) -> list[BaseException]:
    """The errors of a group and of the groups in it; alone, the error itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in leaves(each)]


def as_own(error: BaseException) -> PrefetchError:
    """An error as one of prefetch's own: of a group, the first that tells anything."""
    found = leaves(error)
    told = next((each for each in found if isinstance(each, PrefetchError)), None)
    if told is not None:
        return told
    first = next((each for each in found if not is_interruption(each)), found[0])
    if isinstance(first, OSError):
        return _refused(first)
    if isinstance(first, MemoryError):
        return DestinationError(
            "there is not enough memory",
            hint="end other programs, raise the limit (ulimit -v), or do less at once (--jobs 1)",
        )
    if isinstance(first, RuntimeError) and _NO_THREAD in str(first):
        return DestinationError(
            "no thread can be started",
            hint="raise the limits on processes (ulimit -u) and on memory (ulimit -v)",
        )
    return _fault(first, error)


def _refused(error: OSError) -> PrefetchError:
    names = [_name(each) for each in (error.filename, error.filename2) if each is not None]
    about = f"{' -> '.join(names)}: " if names else ""
    return DestinationError(
        f"{about}{error.strerror or error}",
        hint="check what is there, and whether this user may use it",
    )


def _name(name: object) -> str:
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    text = f"descriptor {name}" if isinstance(name, int) else str(name)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _fault(error: BaseException, whole: BaseException) -> PrefetchError:
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    message = f"this is a bug in prefetch: {' '.join(said.split())[:_LONGEST]}"
    if os.environ.get(TRACEBACK) == "1":
        return FaultError(message, hint="".join(traceback.format_exception(whole)).rstrip())
    return FaultError(
        message,
        hint=f"please report it, with the traceback that {TRACEBACK}=1 in the environment shows",
    )
