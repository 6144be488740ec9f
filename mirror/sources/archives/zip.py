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
from typing import TYPE_CHECKING, Final

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
            with zipfile.ZipFile(archive) as members:
                for member in members.infolist():
                    _add(tree, members, member, _Spool(spool, contents, limits.size))
        except _MALFORMED as error:
            raise IntegrityError(f"malformed zip archive: {error}") from error
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
