"""Memory: how much freed memory the C library keeps, and when Python collects garbage.

By itself glibc keeps what large buffers took, for each of many threads, and takes the largest one
that was ever freed for a measure of what to keep. A run over many downloads then holds twice what
it uses.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE: Final = 4 << 20
_ARENAS: Final = 2


def keep_little() -> None:
    """Return freed large buffers to the system; no effect on C libraries without ``mallopt``."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for parameter, value in (
        (_M_MMAP_THRESHOLD, _LARGE),
        (_M_TRIM_THRESHOLD, _LARGE),
        (_M_ARENA_MAX, _ARENAS),
    ):
        mallopt(parameter, value)


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Turn the garbage collector off while many objects are made that all stay alive."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
