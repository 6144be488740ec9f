"""Nix's base32: an alphabet without ``e o u t``, the bits read from the last byte to the first.

So the text is a little-endian number written in base 32. Python reads such numbers, in digits of
its own; they are written two digits at once. Source: Nix's ``src/libutil/hash.cc``
(``printHash32``).
"""

from __future__ import annotations

import re
from typing import Final

from mirror.errors import FormatError

ALPHABET: Final = "0123456789abcdfghijklmnpqrsvwxyz"

_DIGITS: Final = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")
"""To the digits that :class:`int` reads."""
_PAIRS: Final = tuple(high + low for high in ALPHABET for low in ALPHABET)
_TEXT: Final = re.compile(f"[{ALPHABET}]+")


def encoded_length(size: int) -> int:
    """How many characters ``size`` bytes take."""
    return (size * 8 + 4) // 5


def encode(data: bytes) -> str:
    """Write ``data`` in Nix's base32.

    >>> encode(bytes.fromhex("ddaf35a1"))
    '2hkbbyx'
    """
    number = int.from_bytes(data, "little")
    length = encoded_length(len(data))
    shifts = range(5 * (length + length % 2) - 10, -1, -10)
    text = "".join([_PAIRS[number >> shift & 0x3FF] for shift in shifts])
    return text[1:] if length % 2 else text


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
