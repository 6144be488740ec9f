"""Compressors of the methods that archivers write no more: shrink, implode and Deflate64.

They compress badly, and use everything that a stream of theirs can have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WITH_LITERALS: Final = 0x4
LARGE_WINDOW: Final = 0x2


class _Bits:
    def __init__(self) -> None:
        self._value = 0
        self._count = 0

    def put(self, value: int, count: int) -> None:
        self._value |= value << self._count
        self._count += count

    def put_code(self, code: tuple[int, int], *, inverted: bool = False) -> None:
        value, length = code
        value = int(f"{value:0{length}b}"[::-1], 2)
        self.put(value ^ ((1 << length) - 1 if inverted else 0), length)

    def written(self) -> bytes:
        return self._value.to_bytes((self._count + 7) // 8, "little")


def _codes(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """The code of each symbol, and its length."""
    codes = [(0, 0)] * len(lengths)
    code = 0
    for length in range(1, max(lengths) + 1):
        for symbol, other in enumerate(lengths):
            if other == length:
                codes[symbol] = code, length
                code += 1
        code <<= 1
    return codes


def _matches(data: bytes, *, least: int, longest: int, window: int) -> Iterator[tuple[int, int]]:
    """A distance and a length of each copy, or 0 and a byte."""
    seen: dict[bytes, int] = {}
    position = 0
    while position < len(data):
        key = data[position : position + 4]
        found = seen.get(key, -window - 1)
        seen[key] = position
        length = 0
        if position - found <= window:
            while length < longest and data[position + length : position + length + 1] == (
                data[found + length : found + length + 1] or b"no"
            ):
                length += 1
        if length >= max(least, 4):
            yield position - found, length
            position += length
        else:
            yield 0, data[position]
            position += 1


def deflate64(data: bytes) -> bytes:
    """One block of the fixed codes, with copies as long and from as far as the method has."""
    bits = _Bits()
    literals = _codes([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8)
    distances = _codes([5] * 32)
    bits.put(1, 1)
    bits.put(1, 2)
    for distance, length in _matches(data, least=3, longest=0xFFFF + 3, window=1 << 16):
        if not distance:
            bits.put_code(literals[length])
            continue
        bits.put_code(literals[285])
        bits.put(length - 3, 16)
        symbol = more = 0
        base = 1
        while distance >= base + (1 << more):
            base += 1 << more
            symbol += 1
            more = max(0, symbol // 2 - 1)
        bits.put_code(distances[symbol])
        bits.put(distance - base, more)
    bits.put_code(literals[256])
    return bits.written()


def implode(data: bytes, flags: int) -> bytes:
    """Codes of different lengths where they fit, literal bytes coded or not as the flags say."""
    bits = _Bits()
    has_literals = bool(flags & WITH_LITERALS)
    uneven = [5] * 8 + [6] * 40 + [7] * 16
    trees = [uneven, uneven]
    if has_literals:
        trees.insert(0, [7] * 64 + [8] * 64 + [9] * 128)
    for lengths in trees:
        runs: list[tuple[int, int]] = []
        for length in lengths:
            if runs and runs[-1][0] == length and runs[-1][1] < 16:
                runs[-1] = length, runs[-1][1] + 1
            else:
                runs.append((length, 1))
        bits.put(len(runs) - 1, 8)
        for length, count in runs:
            bits.put(length - 1 | (count - 1) << 4, 8)
    *literals, of_lengths, of_distances = map(_codes, trees)
    least = 3 if has_literals else 2
    low = 7 if flags & LARGE_WINDOW else 6
    longest = least + 63 + 255
    for distance, length in _matches(data, least=least, longest=longest, window=64 << low):
        bits.put(0 if distance else 1, 1)
        if distance:
            bits.put((distance - 1) & ((1 << low) - 1), low)
            bits.put_code(of_distances[(distance - 1) >> low], inverted=True)
            bits.put_code(of_lengths[min(length - least, 63)], inverted=True)
            if length - least >= 63:
                bits.put(length - least - 63, 8)
        elif has_literals:
            bits.put_code(literals[0][length], inverted=True)
        else:
            bits.put(length, 8)
    return bits.written()


def shrink(data: bytes, *, clear_after: int = 7000) -> bytes:
    """Codes are given up whenever so many were made."""
    bits = _Bits()
    children: dict[tuple[int, int], int] = {}
    width = 9
    last = 256
    made = 0
    prefix: int | None = None
    for byte in data:
        if prefix is None:
            prefix = byte
            continue
        if (prefix, byte) in children:
            prefix = children[prefix, byte]
            continue
        while prefix >> width:
            bits.put(256, width)
            bits.put(1, width)
            width += 1
        bits.put(prefix, width)
        parents = {parent for parent, _ in children}
        # unzip looks at no code above the last that was made.
        is_last = last == max(children.values(), default=last)
        if made >= clear_after and is_last and (prefix < 256 or prefix in parents):
            # What the last code makes is made after this.
            bits.put(256, width)
            bits.put(2, width)
            children = {key: code for key, code in children.items() if code in parents}
            last, made = 256, 0
        taken = set(children.values())
        last += 1
        while last in taken:
            last += 1
        children[prefix, byte] = last
        made += 1
        prefix = byte
    if prefix is not None:
        while prefix >> width:
            bits.put(256, width)
            bits.put(1, width)
            width += 1
        bits.put(prefix, width)
    return bits.written()
