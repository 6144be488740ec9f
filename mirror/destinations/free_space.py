"""How much more the file system takes on which a destination is.

Blocking, for use off the event loop.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirror.destinations import files

_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_COMPRESSING: Final = frozenset({"bcachefs", "btrfs", "f2fs", "zfs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The free space for this user at ``place``.

    ``bytes`` are free, and so are ``files``: how many more there can be; None where no limit is
    known. ``may_compress``: more bytes may fit than are free.
    """

    place: Path | str
    bytes: int | None = None
    files: int | None = None
    may_compress: bool = False


def room_at(directory: Path) -> Room:
    """Look where ``directory`` is, or is to be made.

    Raises:
        DestinationError: it cannot be looked at.

    """
    with files.explained(directory):
        place = directory
        while not place.exists():
            place = place.parent
        found = os.statvfs(place)
        return Room(
            place=directory,
            bytes=found.f_bavail * found.f_frsize,
            files=found.f_favail if found.f_files else None,
            may_compress=_file_system(place.resolve()) in _COMPRESSING,
        )


def _file_system(place: Path) -> str | None:
    """The kind of file system that ``place`` is on, None where the kernel does not tell."""
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    kinds = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        point = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), before.split(" ")[4])
        kinds[Path(point)] = after.split(" ")[0]  # what was mounted last hides the others
    return next((kinds[each] for each in (place, *place.parents) if each in kinds), None)
