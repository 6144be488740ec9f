"""The lock file of a flake as ``--refresh`` treats it: read, written by Nix, and put back.

Blocking, for use off the event loop.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mirror.destinations.files import replace_file, sync_directory
from mirror.system.plain_files import is_there, read_plain_file

_TEMPORARY: Final = ".flake.lock."


def can_be_put_back(file: Path) -> bool:
    """Whether it can be written and replaced."""
    place = _place(file)
    return os.access(place.parent, os.W_OK) and (not is_there(place) or os.access(place, os.W_OK))


def read(file: Path) -> bytes | None:
    """Its content; None if there is none.

    Raises:
        OSError: it cannot be read.

    """
    try:
        return read_plain_file(file)
    except FileNotFoundError:
        return None


def put_back(file: Path, data: bytes | None) -> None:
    """Restore it, durably; a reader sees either the old or the new content.

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
    replace_file(place, data, temporaries=place.parent, prefix=_TEMPORARY, like=place)
    sync_directory(place.parent)


def _place(file: Path) -> Path:
    # Unlike `resolve`, this has no error of its own for links that lead nowhere.
    return Path(os.path.realpath(file))
