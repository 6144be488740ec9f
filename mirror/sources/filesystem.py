"""A tree on disk as the nodes of a NAR: what ``nix-store --dump`` would see of it."""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError
from mirror.formats.nar import Directory, Node, Regular, Symlink
from mirror.formats.nar_strings import check_depth

if TYPE_CHECKING:
    from collections.abc import Iterator
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


def _node(path: Path, depth: int) -> Node:
    check_depth(depth, os.fsencode(path))
    status = path.lstat()
    mode = status.st_mode
    if stat.S_ISREG(mode):
        executable = bool(mode & stat.S_IXUSR)
        return Regular(status.st_size, executable, partial(file_contents, path))
    if stat.S_ISLNK(mode):
        # As it is: a Path would lack `.`, doubled slashes and the last one.
        return Symlink(os.fsencode(os.readlink(path)))  # noqa: PTH115
    if not stat.S_ISDIR(mode):
        raise FormatError(f"{path} is neither a file nor a directory nor a link")
    return Directory({os.fsencode(child.name): _node(child, depth + 1) for child in path.iterdir()})
