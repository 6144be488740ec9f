"""Compressed streams: in pieces or whole they give the same, in bounded pieces, bombs too.

The first byte of an input chooses the compression.
"""

from __future__ import annotations

import random
import zlib
from typing import Final

from fuzz.target import Target, plain
from mirror.errors import FormatError
from mirror.formats.compression import METHODS, PIECE_SIZE, decompressor

_MOST: Final = 8 << 20
"""Where a reader stops: what is larger is a bomb."""


def _check(data: bytes) -> None:
    method = METHODS[data[0] % len(METHODS)] if data else "none"
    sizes = random.Random(zlib.crc32(data))
    pieces = []
    start = 1
    while start < len(data):
        end = start + sizes.choice((1, 7, 100, 1000))
        pieces.append(data[start:end])
        start = end
    try:
        whole = _read(method, [data[1:]])
    except FormatError:
        _is_refused(method, pieces)
        raise
    assert _read(method, pieces) == whole


def _is_refused(method: str, pieces: list[bytes]) -> None:
    try:
        _read(method, pieces)
    except FormatError:
        return
    raise AssertionError("accepted in pieces, but not whole")


def _read(method: str, pieces: list[bytes]) -> tuple[int, int]:
    """The length and the checksum of what comes out, up to where a reader stops."""
    stream = decompressor(method)
    length = checksum = 0
    for piece in pieces:
        for out in stream.feed(piece):
            assert 0 < len(out) <= PIECE_SIZE
            length += len(out)
            if length > _MOST:
                return _MOST, 0
            checksum = zlib.crc32(out, checksum)
    stream.finish()
    return length, checksum


TARGET: Final = Target(
    name="compression",
    checking=plain(_check),
    words=(b"\x1f\x8b\x08\0", b"\xfd7zXZ\0", b"BZh9", b"\x28\xb5\x2f\xfd", bytes(4), bytes(3)),
)
