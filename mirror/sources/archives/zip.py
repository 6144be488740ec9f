"""zip archives as the trees that Info-ZIP's unzip makes of them.

Contents are uncompressed into one spool file. Of several entries with one name the first stays.
"""

from __future__ import annotations

import stat
import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from mirror.errors import IntegrityError
from mirror.formats.nar import Node, Regular, Symlink
from mirror.formats.nar_strings import MAXIMUM_TARGET, show
from mirror.nix.file_tree import file_contents
from mirror.sources.archives import zip_directory, zip_hosts
from mirror.sources.archives.tree import ArchiveTree
from mirror.sources.archives.zip_directory import malformed
from mirror.sources.archives.zip_methods import PIECE_SIZE, SLOW_METHODS, decompressed
from mirror.sources.origins.made import room_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from mirror.sources.archives.tree import Limits
    from mirror.sources.archives.zip_directory import Listed

_ENCRYPTED: Final = 0x1
_SPECIAL: Final = frozenset({stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK})


def is_zip(head: bytes) -> bool:
    """Whether these are the first bytes of a zip archive, perhaps an empty one."""
    return head.startswith((b"PK\3\4", b"PK\5\6"))


def ends_as_zip(path: Path) -> bool:
    """Whether a zip archive stands behind something else, such as a program that unpacks it."""
    with path.open("rb") as file:
        return zip_directory.has_end(file)


def read_zip(archive: Path, spool: Path, limits: Limits) -> Node:
    """The tree in a zip archive, contents written to ``spool``. It blocks.

    Raises:
        IntegrityError: it is malformed, hostile, encrypted or of an unknown compression.
        DestinationError: ``spool`` cannot be written.

    """
    tree = ArchiveTree(limits)
    slow = 0
    with archive.open("rb") as file, room_in(spool.parent), spool.open("wb") as contents:
        try:
            for listed in zip_directory.entries(file):
                slow += listed.stored if listed.method in SLOW_METHODS else 0
                if slow > limits.slow:
                    raise IntegrityError(
                        f"the zip archive has more than {limits.slow} bytes of compressions that "
                        "are slow here (shrink, implode, Deflate64)"
                    )
                _add(tree, file, listed, _Spool(spool, contents, limits.size))
        except MemoryError as error:
            # An entry may ask for a dictionary of 4 GiB, whatever its size.
            raise IntegrityError("the zip archive needs more memory than there is") from error
    return tree.root


def _add(tree: ArchiveTree, file: IO[bytes], listed: Listed, spool: _Spool) -> None:
    name = zip_hosts.file_name(listed)
    mode = zip_hosts.mode(listed)
    if listed.flags & _ENCRYPTED:
        raise IntegrityError(f"{show(name)} is encrypted")
    if stat.S_IFMT(mode) in _SPECIAL:
        raise IntegrityError(f"{show(name)} is neither a file nor a directory nor a link")
    existing = tree.find(name)
    if zip_hosts.is_volume_label(listed):
        tree.count(1, 0)
    elif name.endswith(b"/"):
        if isinstance(existing, Regular | Symlink):
            raise IntegrityError(f"{show(name)} is a directory and something else too")
        tree.add_directory(name)
    elif existing is not None:
        tree.count(1, listed.size)
    elif stat.S_ISLNK(mode) and listed.size:
        target = b""
        for piece in _contents(file, listed):
            target += piece
            if len(target) > MAXIMUM_TARGET:
                break
        tree.add(name, Symlink(target))
    else:
        executable = bool(mode & stat.S_IXUSR)
        tree.add(name, spool.add(_contents(file, listed), executable=executable))


def _contents(file: IO[bytes], listed: Listed) -> Iterator[bytes]:
    """An entry's contents, compared with its size and its checksum at the end."""
    checksum = size = 0
    for piece in decompressed(listed, _raw(file, listed)):
        size += len(piece)
        if size > listed.size:
            raise malformed(f"an entry has more than the {listed.size} bytes that it says")
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if checksum != listed.checksum:
        raise malformed("the checksum of an entry's contents is wrong")


def _raw(file: IO[bytes], listed: Listed) -> Iterator[bytes]:
    file.seek(zip_directory.contents_of(file, listed))
    left = listed.stored
    while left and (data := file.read(min(left, PIECE_SIZE))):
        left -= len(data)
        yield data


@dataclass(frozen=True, slots=True)
class _Spool:
    """The file that contents are uncompressed into, one after the other."""

    path: Path
    file: IO[bytes]
    limit: int

    def add(self, contents: Iterator[bytes], *, executable: bool) -> Regular:
        start = self.file.tell()
        for piece in contents:
            with room_in(self.path.parent):
                self.file.write(piece)
            if self.file.tell() > self.limit:
                raise IntegrityError(f"the archive holds more than {self.limit} bytes")
        size = self.file.tell() - start
        return Regular(size, executable, partial(file_contents, self.path, offset=start, size=size))
