"""The list of a zip archive's entries, which stands at its end (PKWARE's APPNOTE, 4.3 to 4.5).

It is read entry by entry. An archive may have something in front, such as the program that unpacks
it: places in the file are counted from where the archive itself begins.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

# Each begins with four bytes that tell what it is; of the rest, what is of use here.
_END: Final = struct.Struct("<10xH2L2x")
_END64: Final = struct.Struct("<32x3Q")
_LOCATOR: Final = struct.Struct("<20x")
_LISTED: Final = struct.Struct("<4x2B2x2H4x3L3H4x2L")
_FIELD: Final = struct.Struct("<2H")
_LOCAL: Final = struct.Struct("<26x2H")
_LONGEST_COMMENT: Final = 0xFFFF
_IN_EXTRA_FIELD: Final = 0xFFFFFFFF
"""What stands in place of a number that has 64 bits, and is in the extra field."""
_ZIP64: Final = 0x0001
_WIDTH: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An entry as the list has it.

    ``host`` and ``host_version`` say which system made it, ``place`` is where its own header is.
    """

    name: bytes
    host: int
    host_version: int
    flags: int
    method: int
    checksum: int
    stored: int
    size: int
    attributes: int
    extra: bytes
    place: int

    def extra_fields(self) -> Iterator[tuple[int, bytes]]:
        """The kind and the data of each extra field, up to one that is cut short."""
        return _fields(self.extra)


def malformed(problem: str) -> IntegrityError:
    """The error for a malformed zip archive."""
    return IntegrityError(f"malformed zip archive: {problem}")


def has_end(file: IO[bytes]) -> bool:
    """Whether a file ends as a zip archive does, whatever it begins with."""
    return _find_end(file) is not None


def entries(file: IO[bytes]) -> Iterator[Listed]:
    """The entries, in the list's order.

    Raises:
        IntegrityError: the list is malformed.

    """
    found = _find_end(file)
    if found is None:
        raise malformed("it has no list of entries")
    place, end = found
    count, size, start = _END.unpack(end)
    end64 = _find_end64(file, place)
    if end64 is not None:
        place, count, size, start = end64
    in_front = place - size - start
    if in_front < 0:
        raise malformed("its list of entries is cut short")
    position = place - size
    read = 0
    while position < place:
        listed, position = _read_listed(file, position, place, in_front)
        read += 1
        yield listed
    if (read - count) % (1 << 16):
        raise malformed(f"it has {read} entries, and says {count}")


def contents_of(file: IO[bytes], listed: Listed) -> int:
    """Where the contents of an entry begin, behind its own header.

    Raises:
        IntegrityError: there is no header.

    """
    file.seek(listed.place)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(b"PK\3\4"):
        raise malformed("an entry is not where it should be")
    lengths: tuple[int, int] = _LOCAL.unpack(header)
    return listed.place + _LOCAL.size + sum(lengths)


def _find_end(file: IO[bytes]) -> tuple[int, bytes] | None:
    """The last record of an archive, and where it is."""
    size = file.seek(0, 2)
    start = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(start)
    tail = file.read(size - start)
    found = tail.rfind(b"PK\5\6")
    end = tail[found : found + _END.size]
    return (start + found, end) if found >= 0 and len(end) == _END.size else None


def _find_end64(file: IO[bytes], place: int) -> tuple[int, int, int, int] | None:
    """The place, and the same numbers, of the record before, which an archive of many may have."""
    if place < _LOCATOR.size + _END64.size:
        return None
    file.seek(place - _LOCATOR.size - _END64.size)
    end, locator = file.read(_END64.size), file.read(_LOCATOR.size)
    if not locator.startswith(b"PK\6\7"):
        return None
    if not end.startswith(b"PK\6\6"):
        raise malformed("its list of entries is not where it should be")
    return place - _LOCATOR.size - _END64.size, *_END64.unpack(end)


def _read_listed(file: IO[bytes], position: int, end: int, in_front: int) -> tuple[Listed, int]:
    file.seek(position)
    header = file.read(_LISTED.size)
    if position + _LISTED.size > end or not header.startswith(b"PK\1\2"):
        raise malformed("an entry of its list cannot be read")
    host_version, host, flags, method, checksum, stored, size, *lengths, attributes, place = (
        _LISTED.unpack(header)
    )
    name_length, extra_length, _ = lengths
    following = position + _LISTED.size + sum(lengths)
    if following > end:
        raise malformed("an entry of its list is cut short")
    name, extra = file.read(name_length), file.read(extra_length)
    wide = b"".join(data for kind, data in _fields(extra) if kind == _ZIP64)
    size, stored, place = _wide(wide, size, stored, place)
    listed = Listed(
        name=name,
        host=host,
        host_version=host_version,
        flags=flags,
        method=method,
        checksum=checksum,
        stored=stored,
        size=size,
        attributes=attributes,
        extra=extra,
        place=in_front + place,
    )
    return listed, following


def _wide(field: bytes, *numbers: int) -> Iterator[int]:
    """The numbers, those that did not fit replaced by the field's, in turn."""
    for number in numbers:
        if number == _IN_EXTRA_FIELD and len(field) >= _WIDTH:
            yield int.from_bytes(field[:_WIDTH], "little")
            field = field[_WIDTH:]
        else:
            yield number


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _FIELD.size <= len(extra):
        kind, length = _FIELD.unpack_from(extra, position)
        position += _FIELD.size
        data = extra[position : position + length]
        if len(data) < length:
            return
        yield kind, data
        position += length
