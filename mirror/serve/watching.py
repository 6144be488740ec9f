"""Whether a directory is as it was when it was read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_SETTLED_NANOSECONDS: Final = 100_000_000


def state_of(directory: Path) -> int:
    """A number that is another one after something in the directory was made, renamed or removed.

    The clock of a file system ticks slowly: what changed just now may change again without a trace,
    so until it has settled the number is a new one each time.
    """
    try:
        changed = directory.stat().st_mtime_ns
    except OSError:
        return 0
    return changed if has_settled(changed) else -time.time_ns()


def has_settled(changed: int) -> bool:
    """Whether what last changed then (nanoseconds since 1970) shows it when it changes again."""
    return time.time_ns() - changed > _SETTLED_NANOSECONDS
