"""tar archives written block by block: archivers write but a part of what GNU tar reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

BLOCK: Final = 512


class Shown(bytes):
    """Bytes that are shown without their runs of zeros."""

    def __repr__(self) -> str:
        shown = re.sub(rb"\0{3,}", b"\0~", self)
        return f"<{len(self)} bytes: {shown!r}>"


Form = Literal["v7", "ustar", "gnu"]
MAGIC: Final[dict[Form, bytes]] = {"v7": b"", "ustar": b"ustar\000", "gnu": b"ustar  \0"}
Number = Literal["octal", "spaces", "unended", "binary"]
Parts = list[tuple[int, int]]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def number(value: int, width: int, style: Number = "octal") -> bytes:
    match style:
        case "octal":
            return b"%0*o\0" % (width - 1, value)
        case "spaces":
            return b"%*o " % (width - 1, value)
        case "unended":
            return b"%0*o" % (width, value)
        case "binary":
            return b"\x80" + value.to_bytes(width - 1)


@dataclass(frozen=True, kw_only=True)
class Header:
    name: bytes
    kind: bytes = b"0"
    mode: int = 0o644
    size: int = 0
    target: bytes = b""
    prefix: bytes = b""
    form: Form = "ustar"
    style: Number = "octal"
    signed: bool = False
    sparse: tuple[int, Parts] | None = None
    """The real size, and the parts of which the header has the first four."""

    def written(self) -> bytes:
        block = bytearray(BLOCK)
        fields = {
            0: self.name[:100],
            100: number(self.mode, 8, self.style),
            108: number(0, 8),
            116: number(0, 8),
            124: number(self.size, 12, self.style),
            136: number(1, 12),
            148: b" " * 8,
            156: self.kind,
            157: self.target[:100],
            257: MAGIC[self.form],
            345: self.prefix[:155],
        }
        more = b""
        if self.sparse is not None:
            size, parts = self.sparse
            fields[386] = _map(parts[:4])
            fields[482] = bytes([len(parts) > 4])
            fields[483] = number(size, 12)
            rest = parts[4:]
            while rest:
                more += _map(rest[:21]).ljust(504, b"\0") + bytes([len(rest) > 21]) + bytes(7)
                rest = rest[21:]
        for place, field in fields.items():
            block[place : place + len(field)] = field
        total = sum(byte - 256 if self.signed and byte > 127 else byte for byte in block)
        block[148:156] = b"%06o\0 " % max(total, 0)
        return bytes(block) + more


def _map(parts: Parts) -> bytes:
    return b"".join(number(offset, 12) + number(size, 12) for offset, size in parts)


def long_header(kind: bytes, text: bytes) -> bytes:
    data = text + b"\0"
    return Header(name=b"././@LongLink", kind=kind, size=len(data), form="gnu").written() + padded(
        data
    )


def record(keyword: bytes, value: bytes) -> bytes:
    rest = b" " + keyword + b"=" + value + b"\n"
    length = len(rest) + 1
    while length < len(rest) + len(b"%d" % length):
        length += 1
    return b"%d" % length + rest


def pax_header(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    data = b"".join(record(*each) for each in records)
    return Header(name=b"PaxHeaders/x", kind=kind, size=len(data)).written() + padded(data)
