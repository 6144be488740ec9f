"""tar archives as trees; the standard library reads the headers, contents stay in the file.

Old (v7), ustar, GNU (long names, sparse files) and pax archives are read. Names are bytes.
"""

from __future__ import annotations

import re
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
_HEADERS_CAP: Final = 4 << 20
"""And all that are before one entry, maps of sparse files among them."""
_NUMBER: Final = re.compile(rb"\d{256}")
"""More digits than any number or name has; the library takes the square of their number."""
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
        with archive.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(0)
            guarded = _Guarded(file)
            members = _open(guarded)
            while (member := members.next()) is not None:
                _add(tree, member, archive, end)
                guarded.next_entry()
                # The library would keep every header.
                members.members.clear()  # type: ignore[attr-defined] # not in the stubs
    except (
        *(tarfile.TarError, ValueError, OverflowError, EOFError, IndexError),
        # The library reads the headers before a header by calling itself.
        RecursionError,
    ) as error:
        raise IntegrityError(f"malformed tar archive: {error}") from error
    return tree.root


def _open(file: _Guarded) -> tarfile.TarFile:
    return tarfile.TarFile(
        fileobj=cast("IO[bytes]", file), encoding="utf-8", errors="surrogateescape"
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
        if member.issparse():
            tree.count_parts(len(_parts(member)))
        tree.add(name, _regular(member, archive, end))
    else:
        raise IntegrityError(f"{show(name)} is neither a file nor a directory nor a link")


def _regular(member: tarfile.TarInfo, archive: Path, end: int) -> Regular:
    executable = bool(member.mode & 0o100)
    start = member.offset_data
    if member.issparse():
        parts = _parts(member)
        stored = sum(size for _, size in parts)
        position = 0
        for offset, size in [*parts, (member.size, 0)]:
            if offset < position or size < 0:
                raise IntegrityError(f"{show(_bytes(member.name))}: its parts are not in order")
            position = offset + size
        read = partial(_sparse_contents, archive, start, member.size, parts)
    else:
        stored = member.size
        read = partial(file_contents, archive, offset=start, size=stored)
    if member.size < 0 or stored < 0 or start + stored > end:
        raise IntegrityError(f"{show(_bytes(member.name))}: the archive is cut short")
    return Regular(member.size, executable, read)


def _parts(member: tarfile.TarInfo) -> Sequence[tuple[int, int]]:
    """Where in a sparse file the stored parts are, and their sizes."""
    # The stubs have the header's bytes here, which the library has replaced by then.
    parts = cast("Sequence[tuple[int, int]]", member.sparse)
    return [(offset, size) for offset, size in parts if size]


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
    """A file of which only headers are read, and that refuses what a hostile one asks for.

    Of a size below zero the library would go back, and read the same headers for ever.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._of_entry = 0
        self.name = ""
        self.mode = "rb"

    def next_entry(self) -> None:
        """Whatever is read from here on belongs to another entry."""
        self._of_entry = 0

    def read(self, size: int) -> bytes:
        if size > _HEADER_CAP:
            raise IntegrityError(f"the archive has a header of {size} bytes")
        self._of_entry += size
        if self._of_entry > _HEADERS_CAP:
            raise IntegrityError(f"the archive has more than {_HEADERS_CAP} bytes before an entry")
        data = self._file.read(size)
        if _NUMBER.search(data):
            raise IntegrityError("the archive has a header with a number of hundreds of digits")
        return data

    def seek(self, position: int) -> int:
        if position < self._file.tell():
            raise IntegrityError("the archive has an entry of a size below zero")
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()
