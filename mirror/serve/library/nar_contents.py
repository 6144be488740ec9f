"""What is in a NAR, as other protocols have it: a plain file's bytes, a tree as a tar archive.

Blocking, for use off the event loop.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError
from mirror.formats.nar import NarParser

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TOP: Final = b"source"
_ENCODING: Final = "utf-8"


def file_size(unpacked: Iterable[bytes]) -> int:
    """The size of the plain file that a NAR is of; only the NAR's beginning is read.

    Raises:
        FormatError: it is of something else.

    """
    sink = _File()
    parser = NarParser(sink)
    for piece in unpacked:
        parser.feed(piece)
        if sink.size is not None:
            return sink.size
    raise FormatError("it is cut short")


def file_pieces(unpacked: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of the plain file that a NAR is of.

    Raises:
        FormatError: it is of something else, or malformed.

    """
    sink = _File()
    parser = NarParser(sink)
    for piece in unpacked:
        parser.feed(piece)
        yield from sink.take()
    parser.finish()


def archive_size(unpacked: Iterable[bytes], *, last_modified: int) -> int:
    """How many bytes :func:`archive_pieces` gives. It reads the whole NAR."""
    return sum(map(len, archive_pieces(unpacked, last_modified=last_modified)))


def archive_pieces(unpacked: Iterable[bytes], *, last_modified: int) -> Iterator[bytes]:
    """A tar archive of a NAR's tree, below one directory, as Nix unpacks it to an equal NAR.

    ``last_modified`` (seconds since 1970) is the time of every entry: Nix takes the newest for that
    of the whole, and compares it with a lock file's.

    Raises:
        FormatError: the NAR is of no directory, or malformed.

    """
    sink = _Archive(last_modified)
    parser = NarParser(sink)
    for piece in unpacked:
        parser.feed(piece)
        yield from sink.take()
    parser.finish()
    yield bytes(2 * tarfile.BLOCKSIZE)


class _Sink:
    """Collects the parser's output until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def take(self) -> Iterator[bytes]:
        """The bytes since the last time."""
        pieces, self._pieces = self._pieces, []
        if pieces:
            yield b"".join(pieces)


class _File(_Sink):
    """A NAR of one file that is not executable."""

    def __init__(self) -> None:
        super().__init__()
        self.size: int | None = None

    def enter_directory(self, name: bytes) -> None:
        raise FormatError(f"it is a directory, not a file: {name!r}")

    def leave_directory(self) -> None:
        raise FormatError("it is a directory, not a file")

    def symlink(self, name: bytes, target: bytes) -> None:
        raise FormatError(f"it is a link, not a file: {name!r}, {target!r}")

    def regular(self, name: bytes, size: int, *, executable: bool) -> None:
        if executable:
            raise FormatError(f"it is executable, not a plain file: {name!r}")
        self.size = size

    def contents(self, data: memoryview) -> None:
        self._pieces.append(bytes(data))


class _Archive(_Sink):
    """A NAR of a directory as entries of a tar archive."""

    def __init__(self, last_modified: int) -> None:
        super().__init__()
        self._last_modified = last_modified
        self._names: list[bytes] = []
        self._left = 0
        self._padding = 0

    def enter_directory(self, name: bytes) -> None:
        self._names.append(name if self._names else _TOP)
        self._header(tarfile.DIRTYPE, b"/".join(self._names) + b"/", mode=0o755)

    def leave_directory(self) -> None:
        self._names.pop()

    def symlink(self, name: bytes, target: bytes) -> None:
        self._header(tarfile.SYMTYPE, self._path(name), target=target)

    def regular(self, name: bytes, size: int, *, executable: bool) -> None:
        self._header(
            tarfile.REGTYPE, self._path(name), size=size, mode=0o755 if executable else 0o644
        )
        self._left, self._padding = size, -size % tarfile.BLOCKSIZE

    def contents(self, data: memoryview) -> None:
        self._pieces.append(bytes(data))
        self._left -= len(data)
        if self._left == 0:
            self._pieces.append(bytes(self._padding))

    def _path(self, name: bytes) -> bytes:
        if not self._names:
            raise FormatError("it is not a directory")
        return b"/".join((*self._names, name))

    def _header(
        self, kind: bytes, path: bytes, *, size: int = 0, mode: int = 0o777, target: bytes = b""
    ) -> None:
        entry = tarfile.TarInfo(path.decode(_ENCODING, "surrogateescape"))
        entry.type, entry.size, entry.mode = kind, size, mode
        entry.mtime = self._last_modified
        entry.linkname = target.decode(_ENCODING, "surrogateescape")
        # GNU's long names are plain bytes; a PAX header would have to be UTF-8.
        self._pieces.append(entry.tobuf(tarfile.GNU_FORMAT, _ENCODING, "surrogateescape"))
