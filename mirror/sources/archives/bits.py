"""What Huffman codes and copies of what was before are read from, and written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WINDOW: Final = 1 << 16
"""How far back a copy can be from."""
_PIECE_SIZE: Final = 1 << 18
_LONGEST_CODE: Final = 16


class Bits:
    """Bits, the lowest of a byte first."""

    def __init__(self, raw: Iterator[bytes]) -> None:
        self._raw = raw
        self._data = b""
        self._position = 0
        self._value = 0
        self._count = 0

    def take(self, count: int) -> int:
        """Take a number of ``count`` bits.

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
            raise EOFError("an invalid code, or one that is cut short")
        self._value >>= length
        self._count -= length
        return symbol

    def take_bytes(self, count: int) -> bytes:
        """Skip to the next byte, and take ``count`` bytes."""
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
            raise ValueError("too many codes")
        first = int(f"{code:0{length}b}"[::-1], 2)
        for value in range(first, len(self.table), 1 << length):
            self.table[value ^ inverted] = symbol, length


class Output:
    """The output so far, whose recent part can be copied."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add some bytes."""
        self._data += data
        self.size += len(data)

    def copy(self, distance: int, length: int) -> None:
        """Repeat output from a distance back; before the first byte there are zeros."""
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
        """Take the output that copies can no longer reach."""
        count = len(self._data) - (0 if is_end else WINDOW)
        data = bytes(self._data[:count])
        del self._data[:count]
        return data
