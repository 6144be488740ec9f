"""The extended headers of pax archives: what they say of an entry in place of its own header.

A header is a row of records, ``LENGTH KEYWORD=VALUE`` and a newline each (POSIX, ``pax``). A global
one is about all entries that follow, until the next global one. Sparse files have keywords of GNU
tar's: a map in records of their own (0.0), in one record (0.1), or before the contents (1.0).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mirror.errors import IntegrityError

Record = tuple[bytes, bytes]
"""A keyword and its value."""

Parts = tuple[tuple[int, int], ...]
"""Where in a sparse file each stored part is, and its size; between them are holes."""

_LENGTH: Final = re.compile(rb"[ \t]*([0-9]{1,20})[ \t]+")
_MOST_DIGITS: Final = 99


def malformed(problem: str) -> IntegrityError:
    """The error for a malformed tar archive."""
    return IntegrityError(f"malformed tar archive: {problem}")


def text(data: bytes) -> bytes:
    """A string that ends at its first NUL."""
    return data.partition(b"\0")[0]


def decimal(value: bytes) -> int:
    """A number of a header or map, which may be below zero.

    Raises:
        IntegrityError: it is none, or absurd.

    """
    if len(value) > _MOST_DIGITS:
        raise IntegrityError("the archive has a header with a number of hundreds of digits")
    if not re.fullmatch(rb"-?[0-9]+", value):
        raise malformed(f"{value.decode(errors='backslashreplace')!r} is not a number")
    return int(value)


def parse_records(data: bytes) -> tuple[Record, ...]:
    """The records of one extended header.

    Raises:
        IntegrityError: it is malformed.

    """
    records = []
    start = 0
    while start < len(data) and data[start]:
        found = _LENGTH.match(data, start)
        end = start + int(found[1]) if found else 0
        keyword, equals, value = data[found.end() : end].partition(b"=") if found else (b"",) * 3
        if not equals or not value.endswith(b"\n") or end > len(data):
            raise malformed("an extended header has a record that cannot be read")
        records.append((text(keyword), text(value[:-1])))
        start = end
    return tuple(records)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaxEntry:
    """What the extended headers before an entry say of it; None where they do not."""

    name: bytes | None
    target: bytes | None
    size: int | None
    real_size: int | None
    """What a sparse file has with its holes."""
    parts: Parts
    has_map_in_contents: bool

    @classmethod
    def of(cls, records: tuple[Record, ...]) -> PaxEntry:
        """Read all records that are about an entry: of those with one keyword the last counts.

        Raises:
            IntegrityError: one of them is malformed.

        """
        last = dict(records)
        return cls(
            name=last.get(b"GNU.sparse.name", last.get(b"path")),
            target=last.get(b"linkpath"),
            size=_size(last.get(b"size")),
            real_size=_size(last.get(b"GNU.sparse.realsize", last.get(b"GNU.sparse.size"))),
            parts=_parts(records, last.get(b"GNU.sparse.map")),
            has_map_in_contents=decimal(last.get(b"GNU.sparse.major", b"0")) > 0,
        )


def _parts(records: tuple[Record, ...], map_: bytes | None) -> Parts:
    """The map of a sparse file, in one record or in two for each part."""
    if map_ is not None:
        numbers = [decimal(number) for number in map_.split(b",")]
        offsets, sizes = numbers[::2], numbers[1::2]
    else:
        offsets = [decimal(value) for keyword, value in records if keyword == b"GNU.sparse.offset"]
        sizes = [decimal(value) for keyword, value in records if keyword == b"GNU.sparse.numbytes"]
    if len(offsets) != len(sizes):
        raise malformed("the map of a sparse file has an odd number of values")
    return tuple(zip(offsets, sizes, strict=True))


def _size(value: bytes | None) -> int | None:
    size = decimal(value) if value is not None else None
    if size is not None and size < 0:
        raise malformed("an entry with a negative size")
    return size
