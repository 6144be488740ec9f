"""The compressions of zip archives that no library has: shrink, implode and Deflate64.

PKZIP wrote the first two before 1993; Windows writes the third for files of more than 2 GiB. The
two are described in PKWARE's APPNOTE (5.1 and 5.3); the third is Deflate (RFC 1951) with a window
of 64 KiB and longer copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.sources.archives.bits import Bits, Codes, Output

if TYPE_CHECKING:
    from collections.abc import Iterator


def inflate64(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Undo Deflate64."""
    bits, out = Bits(raw), Output()
    is_last = False
    while not is_last:
        is_last = bool(bits.take(1))
        match bits.take(2):
            case 0:
                size = int.from_bytes(bits.take_bytes(4)[:2], "little")
                out.write(bits.take_bytes(size))
            case 1:
                yield from _inflate_block(bits, out, _FIXED_LITERALS, _FIXED_DISTANCES)
            case 2:
                yield from _inflate_block(bits, out, *_read_codes(bits))
            case _:
                raise ValueError("a block of an unknown kind")
    yield out.piece(is_end=True)


_FIXED_LITERALS: Final = Codes([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8)
_FIXED_DISTANCES: Final = Codes([5] * 32)
_ORDER: Final = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_END_OF_BLOCK: Final = 256
_LENGTHS: Final = (
    *((3 + n, 0) for n in range(8)),
    *((3 + ((4 + n % 4) << (n // 4 + 1)), n // 4 + 1) for n in range(20)),
    (3, 16),
)
"""The shortest length of each symbol, and how many bits say how much longer it is."""
_DISTANCES: Final = (
    *((1 + n, 0) for n in range(4)),
    *((1 + ((2 + n % 2) << (n // 2 + 1)), n // 2 + 1) for n in range(28)),
)


def _read_codes(bits: Bits) -> tuple[Codes, Codes]:
    """The codes of a block that has its own, themselves in a code."""
    literals, distances, count = 257 + bits.take(5), 1 + bits.take(5), 4 + bits.take(4)
    of_lengths = [0] * len(_ORDER)
    for symbol in _ORDER[:count]:
        of_lengths[symbol] = bits.take(3)
    codes = Codes(of_lengths)
    lengths: list[int] = []
    while len(lengths) < literals + distances:
        match bits.decode(codes):
            case 16:
                lengths += lengths[-1:] * (3 + bits.take(2))
            case 17:
                lengths += [0] * (3 + bits.take(3))
            case 18:
                lengths += [0] * (11 + bits.take(7))
            case length:
                lengths.append(length)
    return Codes(lengths[:literals]), Codes(lengths[literals : literals + distances])


def _inflate_block(bits: Bits, out: Output, literals: Codes, distances: Codes) -> Iterator[bytes]:
    while (symbol := bits.decode(literals)) != _END_OF_BLOCK:
        if symbol < _END_OF_BLOCK:
            out.write(bytes((symbol,)))
        else:
            length, more = _LENGTHS[symbol - _END_OF_BLOCK - 1]
            length += bits.take(more)
            distance, more = _DISTANCES[bits.decode(distances)]
            distance += bits.take(more)
            if distance > out.size:
                raise ValueError("a copy from before the beginning")
            out.copy(distance, length)
        if out.is_long:
            yield out.piece()


def explode(raw: Iterator[bytes], size: int, flags: int) -> Iterator[bytes]:
    """Undo implode; the entry's flags say how large the window is, and which codes there are."""
    bits, out = Bits(raw), Output()
    has_literals = bool(flags & 0x4)
    low_bits = 7 if flags & 0x2 else 6
    literals = _read_tree(bits, 256) if has_literals else None
    lengths, distances = _read_tree(bits, 64), _read_tree(bits, 64)
    while out.size < size:
        if bits.take(1):
            symbol = bits.take(8) if literals is None else bits.decode(literals)
            out.write(bytes((symbol,)))
        else:
            low = bits.take(low_bits)
            distance = 1 + (bits.decode(distances) << low_bits | low)
            length = bits.decode(lengths)
            if length == _LONG:
                length += bits.take(8)
            length += 3 if has_literals else 2
            out.copy(distance, min(length, size - out.size))
        if out.is_long:
            yield out.piece()
    yield out.piece(is_end=True)


_LONG: Final = 63


def _read_tree(bits: Bits, count: int) -> Codes:
    lengths: list[int] = []
    for byte in bits.take_bytes(1 + bits.take(8)):
        lengths += [1 + (byte & 0xF)] * (1 + (byte >> 4))
    if len(lengths) != count:
        raise ValueError("a tree of the wrong size")
    return Codes(lengths, is_inverted=True)


def unshrink(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Undo shrink: LZW, whose codes grow, and are given up, where the data says so."""
    bits, out = Bits(raw), Output()
    tree = _Tree()
    width = _LEAST_WIDTH
    try:
        while True:
            code = bits.take(width)
            if code == _CONTROL and tree.has_begun:
                match bits.take(width):
                    case 1:
                        width += 1
                    case 2:
                        tree.clear()
                    case _:
                        pass
                if width > _MOST_WIDTH:
                    raise ValueError("codes that are too long")
                continue
            out.write(tree.text(code))
            if out.is_long:
                yield out.piece()
    except EOFError:
        # Only the end of the data says that it is all.
        yield out.piece(is_end=True)


_LEAST_WIDTH, _MOST_WIDTH = 9, 13
_CONTROL: Final = 256


class _Tree:
    """The texts that codes stand for: each that of another code, and one byte more."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}
        self._bytes = dict(enumerate(range(256)))
        self._last_code = _CONTROL
        self._before: int | None = None
        self._first = 0

    @property
    def has_begun(self) -> bool:
        return self._before is not None

    def text(self, code: int) -> bytes:
        """The text of a code, which also makes a new one: the text before, and its first byte."""
        backwards = bytearray()
        at: int | None = code
        while at is not None:
            if at >= _CONTROL and at not in self._parents:
                # A code that is only made by this: the text before, and its own first byte.
                backwards.append(self._first)
                at = self._before
            else:
                backwards.append(self._bytes[at])
                at = self._parents.get(at)
            if len(backwards) > 1 << _MOST_WIDTH:
                raise ValueError("a code that refers to itself")
        self._first = backwards[-1]
        if self._before is not None:
            self._add(self._before)
        self._before = code
        return bytes(reversed(backwards))

    def clear(self) -> None:
        """Give up the codes that no other one needs."""
        known = [code for code in self._parents if code <= self._last_code]
        needed = {self._parents[code] for code in known}
        for code in known:
            if code not in needed:
                del self._parents[code]
        self._last_code = _CONTROL

    def _add(self, parent: int) -> None:
        code = self._last_code + 1
        while code in self._parents:
            code += 1
        if code >> _MOST_WIDTH:
            raise ValueError("too many codes")
        self._last_code = code
        self._parents[code] = parent
        self._bytes[code] = self._first
