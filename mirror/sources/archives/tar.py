"""tar archives as the trees that GNU tar makes of them; contents stay in the file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from mirror.errors import IntegrityError
from mirror.formats.nar import Node, Regular, Symlink
from mirror.formats.nar_strings import show
from mirror.nix.file_tree import file_contents
from mirror.sources.archives import tar_headers
from mirror.sources.archives.tar_headers import BLOCK, TarHeaders, is_header, padded
from mirror.sources.archives.tree import ArchiveTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.sources.archives.pax import Parts
    from mirror.sources.archives.tar_headers import Entry
    from mirror.sources.archives.tree import Limits

_MAGIC: Final = slice(257, 262)
_EXECUTABLE: Final = 0o100
_HOLE: Final = bytes(1 << 18)


def is_tar(head: bytes) -> bool:
    """Whether the first 512 bytes are a tar header; the oldest format has but its checksum.

    A block of zeros ends an archive, so it can be all of one.
    """
    return len(head) == BLOCK and (
        head[_MAGIC] == b"ustar" or is_header(head) or head == bytes(BLOCK)
    )


def read_tar(archive: Path, limits: Limits) -> Node:
    """The tree in an uncompressed tar archive. It blocks.

    Raises:
        IntegrityError: it is malformed, cut short or hostile.

    """
    tree = ArchiveTree(limits)
    with archive.open("rb") as file:
        for entry in TarHeaders(file).entries():
            _add(tree, entry, archive)
    return tree.root


def _add(tree: ArchiveTree, entry: Entry, archive: Path) -> None:
    match entry.kind:
        case tar_headers.DIRECTORY | tar_headers.DIRECTORY_WITH_LIST:
            tree.add_directory(entry.name)
        case tar_headers.SYMBOLIC_LINK:
            tree.add(entry.name, Symlink(entry.target))
        case tar_headers.HARD_LINK:
            tree.add_copy(entry.name, entry.target)
        case tar_headers.VOLUME_LABEL:
            pass
        case tar_headers.CONTINUED:
            raise IntegrityError(f"{show(entry.name)} is continued from another volume")
        case kind if kind in tar_headers.SPECIAL:
            raise IntegrityError(f"{show(entry.name)} is neither a file nor a directory nor a link")
        case _:
            # Kinds that are not known are files, as POSIX has it.
            tree.add(entry.name, _regular(tree, entry, archive))


def _regular(tree: ArchiveTree, entry: Entry, archive: Path) -> Regular:
    executable = bool(entry.mode & _EXECUTABLE)
    if entry.parts is None:
        read = partial(file_contents, archive, offset=entry.start, size=entry.size)
        return Regular(entry.size, executable, read)
    size = 0
    for offset, length in entry.parts:
        if offset < size or length < 0:
            raise _out_of_order(entry)
        size = offset + length
    if size > entry.size:
        raise _out_of_order(entry)
    tree.count(len(entry.parts), entry.size - size)
    read = partial(_sparse_contents, archive, entry.start, entry.parts)
    # A file ends with its last part, whatever size its entry states.
    return Regular(size, executable, read)


def _out_of_order(entry: Entry) -> IntegrityError:
    return IntegrityError(f"{show(entry.name)}: its parts are not in order")


def _sparse_contents(archive: Path, start: int, parts: Parts) -> Iterator[bytes]:
    position = 0
    for offset, length in parts:
        while position < offset:
            hole = _HOLE[: offset - position]
            position += len(hole)
            yield hole
        yield from file_contents(archive, offset=start, size=length)
        start += padded(length)
        position += length
