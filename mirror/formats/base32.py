"""Nix's base32: an alphabet without ``e o u t``, the bits read from the last byte to the first.

So the text is a little-endian number written in base 32. Python reads such numbers, in digits of
its own; they are written two digits at once. Source: Nix's ``src/libutil/hash.cc``
(``printHash32``).
"""

from __future__ import annotations

from typing import Final

from mirror.errors import FormatError

ALPHABET: Final = "0123456789abcdfghijklmnpqrsvwxyz"

_DIGITS: Final = bytes.maketrans(
    bytes(range(256)),
    bytes(
        b"0123456789abcdefghijklmnopqrstuv"[ALPHABET.index(each)] if each in ALPHABET else ord("!")
        for each in map(chr, range(256))
    ),
)
"""From bytes of a text to the digits that :class:`int` reads, and to none of any other byte."""
_PAIRS: Final = tuple(high + low for high in ALPHABET for low in ALPHABET)


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
    try:
        number = int(text.encode().translate(_DIGITS), 32) if text else 0
        data = number.to_bytes(size, "little")
    except (ValueError, OverflowError) as error:
        raise FormatError(f"not base32 as Nix writes it: {text!r}") from error
    if encoded_length(size) != len(text):
        raise FormatError(f"not base32 as Nix writes it: {text!r}")
    return data
