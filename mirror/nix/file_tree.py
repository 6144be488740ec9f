"""A tree on disk as a NAR: what ``nix-store --dump`` would make of it."""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError, IntegrityError
from mirror.formats import nar
from mirror.formats.nar import Directory, Node, Regular, Symlink
from mirror.formats.nar_strings import check_depth
from mirror.system.chunks import in_chunks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

_READ_SIZE: Final = 1 << 20


def tree(path: Path) -> Node:
    """The tree at ``path``, links not followed. Files are read when the NAR is written.

    It blocks: it lists every directory.

    Raises:
        FormatError: something in it is neither a file nor a directory nor a link, or it is nested
            deeper than Nix accepts.
        OSError: something cannot be read.

    """
    return _node(path, 0)


async def nar_chunks(path: Path) -> AsyncIterator[bytes]:
    """The NAR of the tree at ``path``, in chunks.

    Raises:
        IntegrityError: it is damaged, or cannot be read.

    """
    try:
        async for chunk in in_chunks(_nar_pieces(path)):
            yield chunk
    except (OSError, FormatError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}") from error


def file_contents(path: Path, *, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
    """A file's bytes from ``offset``, at most ``size`` of them, in pieces of at most 1 MiB."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        left = size
        while left is None or left > 0:
            piece = file.read(_READ_SIZE if left is None else min(left, _READ_SIZE))
            if not piece:
                return
            if left is not None:
                left -= len(piece)
            yield piece


def _nar_pieces(path: Path) -> Iterator[bytes]:
    """The NAR of the tree at ``path``, which is looked at for the first piece."""
    yield from nar.serialize(tree(path))


def _node(path: Path, depth: int) -> Node:
    check_depth(depth, os.fsencode(path))
    status = path.lstat()
    mode = status.st_mode
    if stat.S_ISREG(mode):
        executable = bool(mode & stat.S_IXUSR)
        # A buffer is made for as much as is asked for: most files are far smaller than a piece.
        size = status.st_size
        return Regular(size, executable, partial(file_contents, path, size=size))
    if stat.S_ISLNK(mode):
        # As it is: a Path would lack `.`, doubled slashes and the last one.
        return Symlink(os.fsencode(os.readlink(path)))  # noqa: PTH115
    if not stat.S_ISDIR(mode):
        raise FormatError(f"{path} is neither a file nor a directory nor a link")
    return Directory({os.fsencode(child.name): _node(child, depth + 1) for child in path.iterdir()})
