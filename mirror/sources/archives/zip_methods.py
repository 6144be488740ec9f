"""How the contents of a zip archive's entries are compressed.

Of the methods that PKWARE's APPNOTE lists (4.4.5), those that unzip undoes, and LZMA.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from itertools import chain
from typing import TYPE_CHECKING, Final

from mirror.sources.archives.zip_directory import malformed
from mirror.sources.archives.zip_old_methods import explode, inflate64, unshrink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mirror.sources.archives.zip_directory import Listed

PIECE_SIZE: Final = 1 << 18
SLOW_METHODS: Final = frozenset({1, 6, 9})
"""Which no library undoes: they take some seconds a megabyte."""
_LZMA_HEADER: Final = 9
"""A version and a length, and five bytes about the stream."""


def decompressed(listed: Listed, raw: Iterator[bytes]) -> Iterator[bytes]:
    """What an entry holds, in pieces; it may end before ``raw`` does.

    Raises:
        IntegrityError: the compression is not known here, or the data malformed or cut short.

    """
    undo = _METHODS.get(listed.method)
    if undo is None:
        method = f"method {listed.method}, which is not known here"
        raise malformed(f"an entry is compressed by {method}")
    try:
        yield from undo(raw, listed)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, IndexError) as error:
        raise malformed(f"an entry's contents: {error}") from error


def _inflate(raw: Iterator[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    for data in raw:
        left = data
        while left and not stream.eof:
            yield stream.decompress(left, PIECE_SIZE)
            left = stream.unconsumed_tail
        if stream.eof:
            return
    yield stream.flush()
    if not stream.eof:
        raise EOFError("cut short")


def _bunzip2(raw: Iterator[bytes]) -> Iterator[bytes]:
    stream = bz2.BZ2Decompressor()
    for data in raw:
        yield stream.decompress(data, PIECE_SIZE)
        while not stream.eof and not stream.needs_input:
            yield stream.decompress(b"", PIECE_SIZE)
        if stream.eof:
            return
    raise EOFError("cut short")


def _unlzma(raw: Iterator[bytes]) -> Iterator[bytes]:
    data = next(raw, b"")
    if len(data) < _LZMA_HEADER:
        raise EOFError("cut short")
    positions, rest = divmod(data[4], 45)
    literal_positions, literal_contexts = divmod(rest, 9)
    stream = lzma.LZMADecompressor(
        format=lzma.FORMAT_RAW,
        filters=[
            {
                "id": lzma.FILTER_LZMA1,
                "dict_size": int.from_bytes(data[5:9], "little"),
                "lc": literal_contexts,
                "lp": literal_positions,
                "pb": positions,
            }
        ],
    )
    # It may have no mark at its end: the entry's size and checksum tell.
    for piece in chain([data[_LZMA_HEADER:]], raw):
        yield stream.decompress(piece, PIECE_SIZE)
        while not stream.eof and not stream.needs_input:
            yield stream.decompress(b"", PIECE_SIZE)
        if stream.eof:
            return


_METHODS: Final[dict[int, Callable[[Iterator[bytes], Listed], Iterator[bytes]]]] = {
    0: lambda raw, _: raw,
    1: lambda raw, _: unshrink(raw),
    6: lambda raw, listed: explode(raw, listed.size, listed.flags),
    8: lambda raw, _: _inflate(raw),
    9: lambda raw, _: inflate64(raw),
    12: lambda raw, _: _bunzip2(raw),
    14: lambda raw, _: _unlzma(raw),
}
