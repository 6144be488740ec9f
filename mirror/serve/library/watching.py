"""Whether a directory is unchanged since it was read."""

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
        status = directory.stat()
    except OSError:
        return 0
    if not has_settled(status.st_mtime_ns):
        return -time.time_ns()
    # Another one may have come in its place, with the old one's time.
    return ((status.st_dev << 64) | status.st_ino) << 64 | status.st_mtime_ns


def has_settled(changed: int) -> bool:
    """Whether a further change would change this time (nanoseconds since 1970), too."""
    return time.time_ns() - changed > _SETTLED_NANOSECONDS
