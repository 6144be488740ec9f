"""The headers of a tar archive, as GNU tar reads them.

Old (v7), ustar, GNU (long names, sparse files) and pax archives are read; the formats are described
in POSIX (``pax``) and in GNU tar's manual. An archive is a row of blocks of 512 bytes: a header,
then the entry's contents, filled up to whole blocks. It ends where the file does, or at the first
block of zeros; what follows that is not looked at. Headers are read into memory, contents are not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import IntegrityError
from mirror.formats.nar_strings import show
from mirror.sources.archives.pax import PaxEntry, decimal, malformed, parse_records, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from mirror.sources.archives.pax import Parts, Record

BLOCK: Final = 512
_HEADER_CAP: Final = 1 << 20
"""The most that one extended header may have: they are read into memory."""
_HEADERS_CAP: Final = 4 << 20
"""And all that are before one entry, maps of sparse files among them."""
_OCTAL: Final = re.compile(rb"\0?[ \t-\r]*([0-7]+)([\0 \t-\r]|$)")
_POSITIVE, _NEGATIVE = 0x80, 0xFF
"""What a field begins with that holds a binary number."""

HARD_LINK: Final = b"1"
SYMBOLIC_LINK: Final = b"2"
DIRECTORY: Final = b"5"
DIRECTORY_WITH_LIST: Final = b"D"
"""Of an incremental archive: its contents are a list of the directory's entries."""
VOLUME_LABEL: Final = b"V"
CONTINUED: Final = b"M"
"""The rest of a file that another volume begins with."""
SPECIAL: Final = frozenset({b"3", b"4", b"6"})
"""Devices and named pipes."""
_SPARSE: Final = b"S"
_LONG_NAME, _LONG_TARGET, _GLOBAL = b"L", b"K", b"g"
_EXTENDED: Final = frozenset({_LONG_NAME, _LONG_TARGET, _GLOBAL, b"x", b"X"})
_PLAIN: Final = frozenset({b"0", b"\0", b"7"})
_EMPTY: Final = frozenset({HARD_LINK, SYMBOLIC_LINK, DIRECTORY}) | SPECIAL
"""What has no contents, whatever the size in its header."""
_PARTS_IN_HEADER, _PARTS_IN_BLOCK = (386, 4, 482), (0, 21, 504)
"""Where the map of a sparse file begins, how many parts it has, and where it says it goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry. ``parts`` is None unless it is a sparse file.

    The contents are at ``start``, each part of a sparse file filled up to whole blocks. ``size`` is
    what there is once unpacked.
    """

    name: bytes
    kind: bytes
    mode: int
    target: bytes
    size: int
    start: int
    parts: Parts | None = None


def is_header(block: bytes) -> bool:
    """Whether a block's checksum is right; some old tars added up signed bytes."""
    found = _OCTAL.match(block[148:156])
    if len(block) != BLOCK or found is None:
        return False
    summed = block[:148] + b" " * 8 + block[156:]
    stated, unsigned = int(found[1], 8), sum(summed)
    return stated == unsigned or stated == unsigned - 256 * sum(byte >> 7 for byte in summed)


def padded(size: int) -> int:
    """The size of ``size`` bytes, padded to whole blocks."""
    return size + -size % BLOCK


class TarHeaders:
    """Reads an archive's headers one after the other."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = file.seek(0, 2) // BLOCK * BLOCK
        self._position = 0
        self._read_for_entry = 0
        self._global: tuple[Record, ...] = ()

    def entries(self) -> Iterator[Entry]:
        """The entries, in the archive's order.

        Raises:
            IntegrityError: a header is malformed, or has or asks for too much.

        """
        names: dict[bytes, bytes] = {}
        records: tuple[Record, ...] | None = None
        while (block := self._next_block()) is not None and block.strip(b"\0"):
            if not is_header(block):
                raise malformed("the checksum of a header is wrong")
            kind = block[156:157]
            if kind not in _EXTENDED:
                entry = self._entry(block, names, records)
                yield entry
                if self._position > self._end:
                    raise IntegrityError(f"{show(entry.name)}: the archive is cut short")
                names, records = {}, None
                self._read_for_entry = 0
                continue
            data = self._extended(_size(block))
            if kind in {_LONG_NAME, _LONG_TARGET}:
                names[kind] = text(data)
            elif kind == _GLOBAL:
                self._global = parse_records(data)
            else:
                records = parse_records(data)
        if names or records is not None:
            raise malformed("it ends with a header that belongs to no entry")

    def _entry(
        self, block: bytes, names: dict[bytes, bytes], records: tuple[Record, ...] | None
    ) -> Entry:
        """The entry of a header; what follows is the next one's."""
        about = PaxEntry.of(self._global + (records or ()))
        name = names.get(_LONG_NAME, _name(block))
        name = name if about.name is None else about.name
        target = names.get(_LONG_TARGET, text(block[157:257]))
        kind = block[156:157]
        if kind in _PLAIN and name.endswith(b"/"):
            kind = DIRECTORY
        contents = self._position
        size, parts = 0, None
        if kind not in _EMPTY:
            size = _size(block) if about.size is None else about.size
            following = contents + padded(size)
            if kind == _SPARSE and block[257:265] == b"ustar  \0":
                parts = self._parts_of_gnu(block)
                following += self._position - contents
                size = _number(block[483:495])
            elif about.has_map_in_contents:
                parts = self._parts_before_contents()
            elif about.parts:
                parts = about.parts
            contents = self._position
            if about.real_size is not None:
                size = about.real_size
            stored = [size] if parts is None else [size for _, size in parts]
            self._position = max(following, contents + sum(map(padded, stored)))
        return Entry(
            name=name,
            kind=kind,
            mode=_number(block[100:108]),
            target=target if about.target is None else about.target,
            size=size,
            start=contents,
            parts=parts,
        )

    def _parts_of_gnu(self, block: bytes) -> Parts:
        """The map in a header and the blocks that follow it."""
        parts: list[tuple[int, int]] = []
        start, number, more = _PARTS_IN_HEADER
        while True:
            for place in range(start, start + 24 * number, 24):
                if not block[place + 12]:
                    return tuple(parts)
                offset, size = block[place : place + 12], block[place + 12 : place + 24]
                parts.append((_number(offset), _number(size)))
            if not block[more]:
                return tuple(parts)
            start, number, more = _PARTS_IN_BLOCK
            block = self._map_block()

    def _parts_before_contents(self) -> Parts:
        """The map that contents begin with: how many parts, and two numbers of each, in lines."""
        lines = [b""]
        wanted = 1
        while len(lines) <= wanted:
            lines[-1:] = (lines[-1] + self._map_block()).split(b"\n")
            if len(lines[-1]) > BLOCK:
                raise malformed("the map of a sparse file has no lines")
            wanted = 1 + 2 * decimal(lines[0]) if len(lines) > 1 else 1
        numbers = [decimal(line) for line in lines[1:wanted]]
        return tuple(zip(numbers[::2], numbers[1::2], strict=True))

    def _map_block(self) -> bytes:
        self._count(BLOCK)
        block = self._next_block()
        if block is None:
            raise malformed("the map of a sparse file is cut short")
        return block

    def _next_block(self) -> bytes | None:
        """The next block; None at the archive's end."""
        if self._position >= self._end:
            return None
        self._file.seek(self._position)
        self._position += BLOCK
        return self._file.read(BLOCK)

    def _extended(self, size: int) -> bytes:
        """The contents of an extended header."""
        if size > _HEADER_CAP:
            raise IntegrityError(f"the archive has a header of {size} bytes")
        self._count(size + BLOCK)
        if self._position + padded(size) > self._end:
            raise IntegrityError("the archive is cut short")
        self._file.seek(self._position)
        self._position += padded(size)
        return self._file.read(size)

    def _count(self, size: int) -> None:
        """Count bytes that are read into memory before an entry, and stop at the limit."""
        self._read_for_entry += size
        if self._read_for_entry > _HEADERS_CAP:
            raise IntegrityError(f"the archive has more than {_HEADERS_CAP} bytes before an entry")


def _name(block: bytes) -> bytes:
    name, prefix = text(block[:100]), text(block[345:500])
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name


def _size(block: bytes) -> int:
    """The size of the contents that follow a header; a hard link has none."""
    size = _number(block[124:136]) if block[156:157] != HARD_LINK else 0
    if size < 0:
        raise malformed("an entry with a negative size")
    return size


def _number(field: bytes) -> int:
    """A number in a header: octal text, or binary."""
    if field[0] in {_POSITIVE, _NEGATIVE}:
        negative = field[0] == _NEGATIVE
        return int.from_bytes(field[1:]) - (1 << 8 * (len(field) - 1) if negative else 0)
    found = _OCTAL.match(field)
    if found is None:
        raise malformed("a header has no number where one should be")
    return int(found[1], 8)
