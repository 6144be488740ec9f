"""A cache directory as one of the substituters in Nix's settings."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.system.temporaries import temporary_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN: Final = re.compile(r"[A-Za-z0-9/._+-]+")
_PLAIN_PLACE: Final = "/tmp"  # noqa: S108 - what is made there has a name of its own


@contextlib.contextmanager
def file_url(directory: Path) -> Iterator[str]:
    """The URL of a cache directory, as it stands in a list of URLs while the context lasts.

    Nix splits such a list at spaces, and 2.8 decodes no ``%20``: a directory whose name has
    anything unusual in it is named by a link.
    """
    if _PLAIN.fullmatch(str(directory)):
        yield f"file://{directory}"
        return
    usual = tempfile.gettempdir()
    place = None if _PLAIN.fullmatch(usual) else Path(_PLAIN_PLACE)
    with temporary_directory(place) as links:
        link = links / "cache"
        link.symlink_to(directory)
        yield f"file://{link}"
