"""What a directory has to be like before it is taken for a cache, or made one.

Blocking, for use off the event loop.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from mirror.destinations import files
from mirror.destinations.cache.layout import CACHE_INFO, CHECKSUMS, HIDDEN, STAGING
from mirror.errors import DestinationError, FormatError
from mirror.formats.cache_info import parse_cache_info

if TYPE_CHECKING:
    from pathlib import Path


def is_cache(path: Path) -> bool:
    """Whether it is a binary cache already, be it one that lost its ``nix-cache-info``.

    Raises:
        DestinationError: it cannot be looked at.

    """
    with files.explained(path):
        return any((path / name).is_file() for name in (CACHE_INFO, CHECKSUMS))


def refuse_other_directories(path: Path) -> None:
    """Refuse a directory that is neither empty nor a cache, in case it was named by mistake.

    One that has a record of checksums is a cache, also where its ``nix-cache-info`` was lost.

    Raises:
        DestinationError: there is something that is no cache, or it cannot be looked at.

    """
    with files.explained(path):
        try:
            path.stat()
        except FileNotFoundError:
            return  # whatever else keeps it from being looked at keeps it from being made
        except NotADirectoryError as error:
            file = next(each for each in path.parents if each.exists())
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file)) from error
        about = path / CACHE_INFO
        if about.is_file():
            try:
                parse_cache_info(files.read_plain_file(about))
            except FormatError as error:
                raise DestinationError(
                    f"{about}: {error.message}",
                    hint="if this is your cache, `prefetch verify --repair` writes it again",
                ) from error
        elif not (path / CHECKSUMS).is_file() and any(
            not entry.name.startswith(".") for entry in path.iterdir()
        ):
            raise DestinationError(
                f"{path} is not empty, and not a binary cache",
                hint="name a directory that is empty, or that does not exist yet",
            )


def refuse_links(path: Path) -> None:
    """Keep a run, which removes whatever is staged, from what is elsewhere.

    Raises:
        DestinationError: where runs stage is a link.

    """
    with files.explained(path):
        for directory in (path / HIDDEN, path / STAGING):
            if directory.is_symlink():
                raise DestinationError(
                    f"{directory} is a link, and every run removes what is in it",
                    hint="remove the link: a directory is made in its place",
                )
