"""The compressions of zip archives that no library has: shrink, implode and Deflate64.

PKZIP wrote the first two before 1993; Windows writes the third for files of more than 2 GiB. The
two are described in PKWARE's APPNOTE (5.1 and 5.3); the third is Deflate (RFC 1951) with a window
of 64 KiB and longer copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WINDOW: Final = 1 << 16
_PIECE_SIZE: Final = 1 << 18


class Bits:
    """Bits, the lowest of a byte first."""

    def __init__(self, raw: Iterator[bytes]) -> None:
        self._raw = raw
        self._data = b""
        self._position = 0
        self._value = 0
        self._count = 0

    def take(self, count: int) -> int:
        """Take a number of so many bits.

        Raises:
            EOFError: there are not as many.

        """
        if self._count < count:
            self._fill()
            if self._count < count:
                raise EOFError("cut short")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._count -= count
        return value

    def decode(self, codes: Codes) -> int:
        """Take a symbol."""
        if self._count < codes.longest:
            self._fill()
        symbol, length = codes.table[self._value & codes.mask]
        if not length or length > self._count:
            raise EOFError("a code that is none, or cut short")
        self._value >>= length
        self._count -= length
        return symbol

    def take_bytes(self, count: int) -> bytes:
        """Skip to the next byte, and take so many."""
        self.take(self._count % 8)
        return bytes(self.take(8) for _ in range(count))

    def _fill(self) -> None:
        if self._position == len(self._data):
            self._data, self._position = next(self._raw, b""), 0
        data = self._data[self._position : self._position + 8]
        self._position += len(data)
        self._value |= int.from_bytes(data, "little") << self._count
        self._count += 8 * len(data)
        if data and self._count < _LONGEST_CODE:
            self._fill()


_LONGEST_CODE: Final = 16


class Codes:
    """A Huffman code, from the length of each symbol's code in bits; 0 where there is none."""

    def __init__(self, lengths: Sequence[int], *, is_inverted: bool = False) -> None:
        self.longest = max(lengths, default=0)
        self.mask = (1 << self.longest) - 1
        self.table = [(0, 0)] * (1 << self.longest)
        code = 0
        for length in range(1, self.longest + 1):
            for symbol, other in enumerate(lengths):
                if other == length:
                    self._enter(symbol, code, length, self.mask if is_inverted else 0)
                    code += 1
            code <<= 1

    def _enter(self, symbol: int, code: int, length: int, inverted: int) -> None:
        if code >> length:
            raise ValueError("codes that are too many")
        first = int(f"{code:0{length}b}"[::-1], 2)
        for value in range(first, len(self.table), 1 << length):
            self.table[value ^ inverted] = symbol, length


class _Output:
    """What was written, of which the last can be copied."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._data += data
        self.size += len(data)

    def copy(self, distance: int, length: int) -> None:
        """Write again what is so far back; there are zeros before the first byte."""
        missing = min(length, distance - len(self._data))
        if missing > 0:
            self.write(bytes(missing))
            length -= missing
        if length > 0:
            start = len(self._data) - distance
            found = bytes(self._data[start : start + length])
            self.write((found * (length // len(found) + 1))[:length])

    @property
    def is_long(self) -> bool:
        """Whether a piece should be taken."""
        return len(self._data) > _PIECE_SIZE

    def piece(self, *, is_end: bool = False) -> bytes:
        """Take what is not needed for copies any more."""
        count = len(self._data) - (0 if is_end else _WINDOW)
        data = bytes(self._data[:count])
        del self._data[:count]
        return data


def inflate64(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Undo Deflate64."""
    bits, out = Bits(raw), _Output()
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


def _inflate_block(bits: Bits, out: _Output, literals: Codes, distances: Codes) -> Iterator[bytes]:
    while (symbol := bits.decode(literals)) != _END_OF_BLOCK:
        if symbol < _END_OF_BLOCK:
            out.write(bytes((symbol,)))
        else:
            length, more = _LENGTHS[symbol - _END_OF_BLOCK - 1]
            length += bits.take(more)
            distance, more = _DISTANCES[bits.decode(distances)]
            distance += bits.take(more)
            if distance > out.size:
                raise ValueError("a copy of what is before the beginning")
            out.copy(distance, length)
        if out.is_long:
            yield out.piece()


def explode(raw: Iterator[bytes], size: int, flags: int) -> Iterator[bytes]:
    """Undo implode; the entry's flags say how large the window is, and which codes there are."""
    bits, out = Bits(raw), _Output()
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
        raise ValueError("a tree of another size")
    return Codes(lengths, is_inverted=True)


def unshrink(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Undo shrink: LZW, whose codes grow, and are given up, where the data says so."""
    bits, out = Bits(raw), _Output()
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
                raise ValueError("a code that stands for itself")
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
            raise ValueError("codes that are too many")
        self._last_code = code
        self._parents[code] = parent
        self._bytes[code] = self._first
