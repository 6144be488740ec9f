"""Locks on files (``flock``), which the kernel releases when their process dies."""

from __future__ import annotations

import fcntl


def take_lock(descriptor: int, *, is_shared: bool = False) -> bool:
    """Lock an open file until it is closed; False if somebody has locked it otherwise.

    It does not wait.

    Raises:
        OSError: the file system has no locks.

    """
    kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
