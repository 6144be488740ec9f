"""zip archives as trees, with unzip's idea of names and permissions.

Contents are uncompressed into one spool file. Names are bytes: as they are where a Unix system made
the entry, or marked as UTF-8, else translated from the DOS code page. Only entries of Unix have an
x bit and links.
"""

from __future__ import annotations

import lzma
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from mirror.errors import IntegrityError
from mirror.formats.nar import Node, Regular, Symlink
from mirror.formats.nar_strings import MAXIMUM_TARGET, show
from mirror.sources.archives.tree import ArchiveTree
from mirror.sources.filesystem import file_contents
from mirror.sources.made import room_in

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from mirror.sources.archives.tree import Limits

_DOS: Final = 0
_UNIX: Final = 3
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800
_CODE_PAGE: Final = "cp437"
_PIECE_SIZE: Final = 1 << 18
_LISTED: Final = b"PK\1\2"
"""What each entry in the list of an archive's entries begins with."""
_LARGEST_ENTRY: Final = 512
"""More than an entry in that list takes on average, in bytes."""
_MALFORMED: Final = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, NotImplementedError),
    *(RuntimeError, ValueError, EOFError, IndexError, OverflowError),
    # What bz2 calls data that it cannot read.
    OSError,
)
"""What the library raises for an archive that is not right."""


def is_zip(head: bytes) -> bool:
    """Whether these are the first bytes of a zip archive, perhaps an empty one."""
    return head.startswith((b"PK\3\4", b"PK\5\6"))


def read_zip(archive: Path, spool: Path, limits: Limits) -> Node:
    """The tree in a zip archive, contents written to ``spool``. It blocks.

    Raises:
        IntegrityError: it is malformed, hostile, encrypted or of an unknown compression.
        DestinationError: ``spool`` cannot be written.

    """
    tree = ArchiveTree(limits)
    with room_in(spool.parent), spool.open("wb") as contents:
        try:
            with (
                archive.open("rb") as file,
                zipfile.ZipFile(cast("IO[bytes]", _Guarded(file, limits.entries))) as members,
            ):
                for member in members.infolist():
                    _add(tree, members, member, _Spool(spool, contents, limits.size))
        except _MALFORMED as error:
            raise IntegrityError(f"malformed zip archive: {error}") from error
        except MemoryError as error:
            # An entry may ask for a dictionary of 4 GiB, whatever its size.
            raise IntegrityError("the zip archive needs more memory than there is") from error
    return tree.root


def _add(
    tree: ArchiveTree,
    members: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    spool: _Spool,
) -> None:
    name = _name(member)
    mode = member.external_attr >> 16 if member.create_system == _UNIX else 0
    if member.flag_bits & _ENCRYPTED:
        raise IntegrityError(f"{show(name)} is encrypted")
    if name.endswith(b"/"):
        tree.add_directory(name)
        return
    kind = stat.S_IFMT(mode)
    if kind not in {0, stat.S_IFREG, stat.S_IFLNK}:
        raise IntegrityError(f"{show(name)} is neither a file nor a directory nor a link")
    with members.open(member) as content:
        if kind == stat.S_IFLNK:
            tree.add(name, Symlink(content.read(MAXIMUM_TARGET + 1)))
            return
        tree.add(name, spool.add(content, executable=bool(mode & stat.S_IXUSR)))


@dataclass(frozen=True, slots=True)
class _Spool:
    """The file that contents are uncompressed into, one after the other."""

    path: Path
    file: IO[bytes]
    limit: int

    def add(self, content: IO[bytes], *, executable: bool) -> Regular:
        start = self.file.tell()
        while piece := content.read(_PIECE_SIZE):
            with room_in(self.path.parent):
                self.file.write(piece)
            if self.file.tell() > self.limit:
                raise IntegrityError(f"the archive holds more than {self.limit} bytes")
        size = self.file.tell() - start
        return Regular(size, executable, partial(file_contents, self.path, offset=start, size=size))


class _Guarded:
    """A file that refuses to give a list of entries that is too long: it is kept in memory."""

    def __init__(self, file: IO[bytes], entries: int) -> None:
        self._file = file
        self._entries = entries

    def read(self, size: int = -1) -> bytes:
        if size > _LARGEST_ENTRY * self._entries:
            raise IntegrityError(f"the archive has a list of entries of {size} bytes")
        data = self._file.read(size)
        if data.startswith(_LISTED) and data.count(_LISTED) > self._entries:
            raise IntegrityError(f"the archive has more than {self._entries} entries")
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        return self._file.seek(position, whence)

    def tell(self) -> int:
        return self._file.tell()

    @staticmethod
    def seekable() -> bool:
        return True


def _name(member: zipfile.ZipInfo) -> bytes:
    text = member.orig_filename
    if member.flag_bits & _UTF8:
        return text.encode()
    if member.create_system == _UNIX:
        # The library has decoded it with the code page, which is one to one.
        return text.encode(_CODE_PAGE)
    if member.create_system == _DOS and "/" not in text:
        text = text.replace("\\", "/")
    return text.encode()
