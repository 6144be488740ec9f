"""Temporary directories of a run's own, which do not outlive it for long.

Each is locked (``flock``) for as long as it is in use. The kernel gives up the locks of a process
that was killed, and so a later run knows what is left of it, and removes that. Blocking, for use
off the event loop where they are large.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.system.locks import take_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNLOCKED: Final = "prefetch-new-"
_LOCKED: Final = "prefetch-run-"
_NAME: Final = re.compile(rf"({_UNLOCKED}|{_LOCKED})[a-z0-9_]{{8}}")
_YOUTH: Final = 3600.0
"""So many seconds a directory may have no lock yet; in truth it is an instant."""


@contextlib.contextmanager
def temporary_directory(place: Path | None = None) -> Iterator[Path]:
    """A new directory in ``place`` (None: where TMPDIR says), removed with all that is in it.

    Raises:
        OSError: it cannot be made.

    """
    directory = Path(tempfile.mkdtemp(prefix=_UNLOCKED, dir=place))
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor)
        # Under this name nobody sees it without its lock.
        directory = directory.rename(
            directory.with_name(directory.name.replace(_UNLOCKED, _LOCKED, 1))
        )
        yield directory
    finally:
        remove_tree(directory)
        os.close(descriptor)


def remove_left_behind(place: Path | None = None) -> None:
    """Remove what this user's runs that were killed left in ``place``."""
    place = Path(tempfile.gettempdir()) if place is None else place
    # What cannot be looked at or removed now is left for later.
    with contextlib.suppress(OSError):
        for each in place.iterdir():
            if _NAME.fullmatch(each.name):
                with contextlib.suppress(OSError):
                    _remove_unless_in_use(each)


def remove_tree(directory: Path) -> None:
    """Remove a directory, as far as that is possible; what is read-only, as in a store, too."""
    for parent, _, _ in os.walk(directory):
        with contextlib.suppress(OSError):
            os.chmod(parent, 0o700)  # noqa: PTH101 - called for thousands of directories
    shutil.rmtree(directory, ignore_errors=True)


def _remove_unless_in_use(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        is_new = directory.name.startswith(_UNLOCKED) and time.time() - status.st_mtime < _YOUTH
        if status.st_uid == os.geteuid() and not is_new and _lock(descriptor):
            remove_tree(directory)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock it if it is unlocked; on a file system without locks it is never removed."""
    try:
        return take_lock(descriptor)
    except OSError:
        return False
