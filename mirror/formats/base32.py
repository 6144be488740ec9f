"""Nix's base32: an alphabet without ``e o u t``, the bits read from the last byte to the first.

So the text is a little-endian number written in base 32, which Python reads and writes fast in
digits of its own. Source: Nix's ``src/libutil/hash.cc`` (``printHash32``).
"""

from __future__ import annotations

import base64
import re
from typing import Final

from mirror.errors import FormatError

ALPHABET: Final = "0123456789abcdfghijklmnpqrsvwxyz"

_DIGITS: Final = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")
"""To the digits that :class:`int` reads."""
_OF_RFC_4648: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", ALPHABET.encode())
_TEXT: Final = re.compile(f"[{ALPHABET}]+")
_GROUP: Final = 5
"""So many bytes are a whole number of characters."""


def encoded_length(size: int) -> int:
    """How many characters ``size`` bytes take."""
    return (size * 8 + 4) // 5


def encode(data: bytes) -> str:
    """Write ``data`` in Nix's base32.

    >>> encode(bytes.fromhex("ddaf35a1"))
    '2hkbbyx'
    """
    # Filled up in front, the bits stay together as they are grouped from the number's end.
    number = bytes(-len(data) % _GROUP) + data[::-1]
    text = base64.b32encode(number).translate(_OF_RFC_4648).decode()
    return text[len(text) - encoded_length(len(data)) :]


def decode(text: str) -> bytes:
    """Read Nix's base32.

    Raises:
        FormatError: a character is not of the alphabet, or the last bits do not make a byte.

    """
    size = len(text) * 5 // 8
    if text and _TEXT.fullmatch(text) is None:
        raise FormatError(f"not base32 as Nix writes it: {text!r}")
    number = int(text.translate(_DIGITS), 32) if text else 0
    if number >> (8 * size) or encoded_length(size) != len(text):
        raise FormatError(f"not base32 as Nix writes it: {text!r}")
    return number.to_bytes(size, "little")
