"""tar archives as trees; the standard library reads the headers, contents stay in the file.

Old (v7), ustar, GNU (long names, sparse files) and pax archives are read. Names are bytes.
"""

from __future__ import annotations

import tarfile
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from mirror.errors import IntegrityError
from mirror.formats.nar import Node, Regular, Symlink
from mirror.formats.nar_strings import show
from mirror.sources.archives.tree import ArchiveTree
from mirror.sources.filesystem import file_contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from mirror.sources.archives.tree import Limits

_HEADER_CAP: Final = 1 << 20
"""The most that one extended header may have: they are read into memory."""
_MAGIC: Final = slice(257, 262)
_CHECKSUM: Final = slice(148, 156)
_BLOCK: Final = 512
_HOLE: Final = bytes(1 << 18)


def is_tar(head: bytes) -> bool:
    """Whether the first 512 bytes are a tar header; the oldest format has but its checksum."""
    if head[_MAGIC] == b"ustar":
        return True
    if len(head) < _BLOCK:
        return False
    stated = head[_CHECKSUM].strip(b"\0 ")
    spaces = 8 * ord(" ")
    actual = sum(head) - sum(head[_CHECKSUM]) + spaces
    return stated == b"%o" % actual or stated == b"%06o" % actual


def read_tar(archive: Path, limits: Limits) -> Node:
    """The tree in an uncompressed tar archive. It blocks.

    Raises:
        IntegrityError: it is malformed, cut short or hostile.

    """
    tree = ArchiveTree(limits)
    try:
        with archive.open("rb") as file, _open(file) as members:
            end = file.seek(0, 2)
            file.seek(0)
            while (member := members.next()) is not None:
                _add(tree, member, archive, end)
                # The library would keep every header.
                members.members.clear()  # type: ignore[attr-defined] # not in the stubs
    except (
        *(tarfile.TarError, ValueError, OverflowError, EOFError, IndexError),
        # The library reads the headers before a header by calling itself.
        RecursionError,
    ) as error:
        raise IntegrityError(f"malformed tar archive: {error}") from error
    return tree.root


def _open(file: IO[bytes]) -> tarfile.TarFile:
    return tarfile.TarFile(
        fileobj=cast("IO[bytes]", _Guarded(file)), encoding="utf-8", errors="surrogateescape"
    )


def _add(tree: ArchiveTree, member: tarfile.TarInfo, archive: Path, end: int) -> None:
    name = _bytes(member.name)
    if member.isdir():
        tree.add_directory(name)
    elif member.issym():
        tree.add(name, Symlink(_bytes(member.linkname)))
    elif member.islnk():
        tree.add_copy(name, _bytes(member.linkname))
    elif member.isreg():
        tree.add(name, _regular(member, archive, end))
    else:
        raise IntegrityError(f"{show(name)} is neither a file nor a directory nor a link")


def _regular(member: tarfile.TarInfo, archive: Path, end: int) -> Regular:
    executable = bool(member.mode & 0o100)
    start = member.offset_data
    if member.issparse():
        # The stubs have the header's bytes here, which the library has replaced by then.
        parts = cast("Sequence[tuple[int, int]]", member.sparse)
        stored = sum(size for _, size in parts)
        read = partial(_sparse_contents, archive, start, member.size, parts)
    else:
        stored = member.size
        read = partial(file_contents, archive, offset=start, size=stored)
    if member.size < 0 or stored < 0 or start + stored > end:
        raise IntegrityError(f"{show(_bytes(member.name))}: the archive is cut short")
    return Regular(member.size, executable, read)


def _sparse_contents(
    archive: Path, start: int, size: int, stored: Sequence[tuple[int, int]]
) -> Iterator[bytes]:
    """``stored`` are the offset and size of each part that is not a hole."""
    position = 0
    for offset, length in [*stored, (size, 0)]:
        while position < offset:
            hole = _HOLE[: offset - position]
            position += len(hole)
            yield hole
        yield from file_contents(archive, offset=start, size=length)
        start += length
        position += length


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class _Guarded:
    """A file that refuses the large reads that a hostile header asks for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.name = ""
        self.mode = "rb"

    def read(self, size: int) -> bytes:
        if size > _HEADER_CAP:
            raise IntegrityError(f"the archive has a header of {size} bytes")
        return self._file.read(size)

    def seek(self, position: int) -> int:
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()
