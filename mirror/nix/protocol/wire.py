"""The worker protocol's words: numbers, strings, lists, error and log frames. No I/O.

Everything is little-endian and in units of eight bytes: a number is one unit, a string its length
and then its bytes, padded with zeros to a whole unit. Source: Nix's ``src/libstore/daemon.cc``,
``worker-protocol.cc`` and ``src/libutil/serialise.cc``.

:class:`Decoder` reads from what has arrived so far; where that ends too early it raises
:class:`NeedMoreError`, and the caller starts again with more bytes.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

CLIENT_HELLO: Final = 0x6E697863
SERVER_HELLO: Final = 0x6478696F

_UNIT: Final = struct.Struct("<Q")
_UNIT_SIZE: Final = 8
_LONGEST_STRING: Final = 64 << 20


class Operation(enum.IntEnum):
    """The requests that prefetch makes."""

    ADD_TEMP_ROOT = 11
    ADD_INDIRECT_ROOT = 12
    QUERY_PATH_INFO = 26
    QUERY_PATH_FROM_HASH_PART = 29
    QUERY_VALID_PATHS = 31
    ADD_TO_STORE_NAR = 39


class Frame(enum.IntEnum):
    """What comes before a request's answer: log frames, then the end or an error."""

    NEXT = 0x6F6C6D67
    READ = 0x64617461
    WRITE = 0x64617416
    LAST = 0x616C7473
    ERROR = 0x63787470
    START_ACTIVITY = 0x53545254
    STOP_ACTIVITY = 0x53544F50
    RESULT = 0x52534C54


class NeedMoreError(Exception):
    """What has arrived is not yet all of it."""


def integer(number: int) -> bytes:
    """A number."""
    return _UNIT.pack(number)


def string(text: str) -> bytes:
    """A string; bytes that are no UTF-8 are those of ``surrogateescape``."""
    data = text.encode(errors="surrogateescape")
    return _UNIT.pack(len(data)) + data + bytes(-len(data) % _UNIT_SIZE)


def strings(texts: Iterable[str]) -> bytes:
    """A list or set of strings."""
    encoded = [string(text) for text in texts]
    return _UNIT.pack(len(encoded)) + b"".join(encoded)


class Decoder:
    """Reads words from ``data``, starting at ``position``."""

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes | bytearray, position: int = 0) -> None:
        self._data = data
        self.position = position

    def integer(self) -> int:
        """A number."""
        end = self.position + _UNIT_SIZE
        if end > len(self._data):
            raise NeedMoreError
        (number,) = _UNIT.unpack_from(self._data, self.position)
        self.position = end
        return int(number)

    def string(self) -> str:
        """A string.

        Raises:
            FormatError: it is so long that the two sides cannot be in step.

        """
        length = self.integer()
        if length > _LONGEST_STRING:
            raise FormatError(f"a string of {length} bytes in the worker protocol")
        start = self.position
        end = start + length
        padded = end + -length % _UNIT_SIZE
        if padded > len(self._data):
            raise NeedMoreError
        self.position = padded
        return self._data[start:end].decode(errors="surrogateescape")

    def strings(self) -> list[str]:
        """A list or set of strings."""
        return [self.string() for _ in range(self.integer())]


def log_frame(decoder: Decoder) -> str | None:
    """Read past one frame that comes before an answer.

    Returns None when the answer follows, the daemon's own words when an error takes its place,
    and an empty string for a log frame.

    Raises:
        FormatError: it is none that a client of these operations can get.

    """
    kind = decoder.integer()
    if kind == Frame.LAST:
        return None
    if kind == Frame.ERROR:
        return _error(decoder) or "the Nix daemon reported an error without a text"
    if kind == Frame.NEXT:
        decoder.string()
    elif kind == Frame.START_ACTIVITY:
        for _ in range(3):
            decoder.integer()
        decoder.string()
        _fields(decoder)
        decoder.integer()
    elif kind == Frame.STOP_ACTIVITY:
        decoder.integer()
    elif kind == Frame.RESULT:
        decoder.integer()
        decoder.integer()
        _fields(decoder)
    else:
        raise FormatError(f"unexpected frame {kind:#x} in the worker protocol")
    return ""


def _error(decoder: Decoder) -> str:
    decoder.string()  # its type, "Error"
    decoder.integer()  # its verbosity
    decoder.string()  # its name, "Error"
    message = decoder.string()
    decoder.integer()  # its position, never sent
    for _ in range(decoder.integer()):
        decoder.integer()
        decoder.string()
    return message


def _fields(decoder: Decoder) -> None:
    for _ in range(decoder.integer()):
        if decoder.integer() == 0:
            decoder.integer()
        else:
            decoder.string()
