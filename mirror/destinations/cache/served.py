"""Whether a cache directory is served: the lock that servers hold, and when one was last seen.

A server locks ``.prefetch/serving`` while it runs. The lock alone does not tell a prune enough: a
server may just be restarting, its disk may have been unmounted, or it may not be able to lock the
directory again. So the modification time of ``.prefetch/served`` is when a server was last seen. A
server that may write here sets it, and so does a prune that finds the lock held.

Blocking, for use off the event loop.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.cache.layout import SERVED

if TYPE_CHECKING:
    from pathlib import Path

SERVED_LATELY: Final = timedelta(days=30)
"""For how long after a server was seen a directory counts as one that has clients."""


def note_served(directory: Path, now: datetime) -> None:
    """Say that a server is there at ``now`` (UTC).

    Raises:
        OSError: this user may not.

    """
    mark = directory / SERVED
    if not mark.exists():
        files.make_file(mark)
        files.sync_directory(mark.parent)
    times = (now.timestamp(), now.timestamp())
    try:
        os.utime(mark, times, follow_symlinks=False)
    except PermissionError:
        # It is another user's, in a directory that is ours.
        mark.unlink()
        files.make_file(mark)
        os.utime(mark, times, follow_symlinks=False)


def was_served_lately(directory: Path, now: datetime) -> bool:
    """Whether a server was seen not long before ``now`` (UTC), or later by another clock."""
    with contextlib.suppress(OSError):
        seen = datetime.fromtimestamp((directory / SERVED).lstat().st_mtime, UTC)
        return now - seen < SERVED_LATELY
    return False
