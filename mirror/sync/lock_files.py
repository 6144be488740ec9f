"""The lock file of a flake as ``--refresh`` treats it: read, written by Nix, and put back.

Blocking, for use off the event loop.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

from mirror.destinations.files import FILE_MODE, sync_directory

_TEMPORARY: Final = ".flake.lock."


def can_be_put_back(file: Path) -> bool:
    """Whether it can be written, and replaced by another."""
    place = _place(file)
    return os.access(place.parent, os.W_OK) and (not place.exists() or os.access(place, os.W_OK))


def read(file: Path) -> bytes | None:
    """Its content; None if there is none.

    Raises:
        OSError: it cannot be read.

    """
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def put_back(file: Path, data: bytes | None) -> None:
    """Let it be as it was, durably; who reads it sees all of the one or of the other.

    It keeps its mode and, where that is allowed, its owner; a link stays one.

    Raises:
        OSError: it cannot be written; it is as it is.

    """
    if read(file) == data:
        return
    if data is None:
        file.unlink()
        sync_directory(file.parent)
        return
    place = _place(file)
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=_TEMPORARY)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)
            opened.flush()
            _make_alike(descriptor, place)
            os.fsync(descriptor)
        temporary.replace(place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(place.parent)


def _place(file: Path) -> Path:
    # Unlike `resolve`, this has no error of its own for links that lead nowhere.
    return Path(os.path.realpath(file))


def _make_alike(descriptor: int, place: Path) -> None:
    mode = FILE_MODE
    with contextlib.suppress(FileNotFoundError):
        status = place.stat()
        mode = status.st_mode & 0o777
        # Only root can give a file to another user; who else may write it is its owner then.
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, mode)
