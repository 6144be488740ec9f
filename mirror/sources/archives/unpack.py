"""Archives as the trees that fetchers make of them, never unpacked into the file system.

An archive's kind is told by its content, not by its name. Its files' contents stay where they are
(in the uncompressed tar, or spooled from the zip), and its names live in memory only, so nothing
that it contains can reach outside: no link is ever followed, no path is ever opened. What could
only be meant badly is refused nevertheless. Meaning, as GNU tar and unzip have it: executable is
the owner's x bit, a hard link is a copy, a later entry replaces an earlier one of the same name.
"""

from __future__ import annotations

import asyncio
import lzma
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError, IntegrityError
from mirror.formats.compression import PIECE_SIZE, Decompressor, decompressor
from mirror.formats.nar import Directory, Node, Regular
from mirror.nix.file_tree import file_contents
from mirror.sources.archives.tar import is_tar, read_tar
from mirror.sources.archives.tree import Limits
from mirror.sources.archives.zip import ends_as_zip, is_zip, read_zip
from mirror.sources.origins.made import write
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

_MAGIC: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x5d\0\0", "lzma"),
)
_LZMA_MEMORY: Final = (1 << 27) + (1 << 20)
_HEAD_SIZE: Final = 512
_LAYERS: Final = 3
"""Of compression, around one archive: its own, and one that a server adds."""


async def unpack(archive: Path, scratch: Path, limits: Limits | None = None) -> Node:
    """The tree in ``archive``; its contents are read from ``scratch`` as long as it is there.

    Raises:
        IntegrityError: it is no archive that is known here, malformed, hostile or too large.
        DestinationError: ``scratch`` cannot be written.

    """
    size = (await asyncio.to_thread(archive.stat)).st_size
    limits = (limits or Limits()).of(size)
    current = archive
    for layer in range(_LAYERS + 1):
        head = await asyncio.to_thread(_head, current)
        if is_zip(head):
            return await in_thread(read_zip, current, scratch / "contents", limits)
        if is_tar(head):
            return await in_thread(read_tar, current, limits)
        target = scratch / f"layer-{layer}"
        if not await undo_compression(current, target, cap=limits.size):
            if await asyncio.to_thread(ends_as_zip, current):
                return await in_thread(read_zip, current, scratch / "contents", limits)
            break
        current = target
    raise IntegrityError("not an archive that can be unpacked here (tar or zip)")


async def undo_compression(source: Path, target: Path, *, cap: int) -> bool:
    """Write to ``target`` what ``source`` is the compression of; False if it is not compressed.

    Raises:
        IntegrityError: the data is malformed, or more than ``cap`` bytes.
        DestinationError: ``target`` cannot be written.

    """
    head = await asyncio.to_thread(_head, source)
    method = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    if method is None:
        return False
    await write(target, _undone(source, method, cap))
    return True


def strip_root(tree: Node) -> Node:
    """What fetchzip makes its output: the single entry at the top, a file in a directory.

    Raises:
        IntegrityError: there is not exactly one entry.

    """
    if not isinstance(tree, Directory) or len(tree.entries) != 1:
        count = len(tree.entries) if isinstance(tree, Directory) else 0
        raise IntegrityError(f"the archive has {count} entries at its top, where one is expected")
    (entry,) = tree.entries.values()
    return tree if isinstance(entry, Regular) else entry


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_SIZE)


async def _undone(source: Path, method: str, cap: int) -> AsyncGenerator[bytes]:
    stream = _Lzma() if method == "lzma" else decompressor(method, ignores_rest=True)
    pieces = _pieces(source, stream)
    total = 0
    try:
        while (piece := await in_thread(next, pieces, None)) is not None:
            total += len(piece)
            if total > cap:
                raise IntegrityError(f"more than {cap} bytes when uncompressed")
            yield piece
    except FormatError as error:
        raise IntegrityError(error.message) from error


class _Lzma:
    """The format before xz (``.lzma``), which no binary cache has."""

    def __init__(self) -> None:
        self._stream = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY)

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while not self._stream.eof and (
                piece := self._stream.decompress(data, max_length=PIECE_SIZE)
            ):
                data = b""
                yield piece
        except lzma.LZMAError as error:
            raise FormatError(f"malformed lzma data: {error}") from error

    def finish(self) -> None:
        if not self._stream.eof:
            raise FormatError("the lzma data is cut short")


def _pieces(source: Path, stream: Decompressor) -> Iterator[bytes]:
    for chunk in file_contents(source):
        yield from stream.feed(chunk)
    stream.finish()
