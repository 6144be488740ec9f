"""Nix's base32: an alphabet without ``e o u t``, the bits read from the last byte to the first.

Source: Nix's ``src/libutil/hash.cc`` (``printHash32``).
"""

from __future__ import annotations

from typing import Final

from mirror.errors import FormatError

ALPHABET: Final = "0123456789abcdfghijklmnpqrsvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(ALPHABET)}


def encoded_length(size: int) -> int:
    """How many characters ``size`` bytes take."""
    return (size * 8 + 4) // 5


def encode(data: bytes) -> str:
    """Write ``data`` in Nix's base32.

    >>> encode(bytes.fromhex("ddaf35a1"))
    '2hkbbyx'
    """
    number = int.from_bytes(data, "little")
    return "".join(
        ALPHABET[(number >> (5 * position)) & 31]
        for position in range(encoded_length(len(data)) - 1, -1, -1)
    )


def decode(text: str) -> bytes:
    """Read Nix's base32.

    Raises:
        FormatError: a character is not of the alphabet, or the last bits do not make a byte.

    """
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            raise FormatError(f"not base32 as Nix writes it: {text!r}")
        number = number << 5 | value
    size = len(text) * 5 // 8
    if number >> (8 * size) or encoded_length(size) != len(text):
        raise FormatError(f"not base32 as Nix writes it: {text!r}")
    return number.to_bytes(size, "little")
