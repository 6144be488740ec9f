"""zip archives written record by record, with all that there is, and drawn by Hypothesis."""

from __future__ import annotations

import bz2
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from rig.old_zip_methods import LARGE_WINDOW, WITH_LITERALS, deflate64, implode, shrink
from rig.raw_tar import Shown

if TYPE_CHECKING:
    from collections.abc import Callable

UTF8: Final = 0x800
DESCRIPTOR: Final = 0x8
DOS, UNIX = 0, 3
VOLUME_LABEL: Final = 0x08


def _deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(9, wbits=-15)
    return stream.compress(data) + stream.flush()


METHODS: Final[dict[int, Callable[[bytes, int], bytes]]] = {
    0: lambda data, _: data,
    1: lambda data, _: shrink(data, clear_after=100),
    6: implode,
    8: lambda data, _: _deflate(data),
    9: lambda data, _: deflate64(data),
    12: lambda data, _: bz2.compress(data),
}


def extra_field(kind: int, data: bytes) -> bytes:
    return struct.pack("<2H", kind, len(data)) + data


def unicode_path(name: bytes, path: bytes) -> bytes:
    return extra_field(0x7075, struct.pack("<BL", 1, zlib.crc32(name)) + path)


@dataclass(frozen=True, kw_only=True)
class Member:
    name: bytes
    data: bytes = b""
    method: int = 0
    host: int = UNIX
    host_version: int = 20
    flags: int = 0
    attributes: int = 0
    extra: bytes = b""
    is_wide: bool = False
    """Its numbers have 64 bits."""
    has_signature: bool = True

    def written(self, place: int) -> tuple[bytes, bytes]:
        """The entry, and what the list has of it."""
        stored = METHODS[self.method](self.data, self.flags)
        checksum = zlib.crc32(self.data)
        sizes = (len(stored), len(self.data))
        needed = 46 if self.method == 12 else 45 if self.is_wide else 20
        extra = self.extra
        shown = sizes
        if self.is_wide:
            extra += extra_field(1, struct.pack("<2Q", len(self.data), len(stored)))
            shown = (0xFFFFFFFF, 0xFFFFFFFF)
        later = self.flags & DESCRIPTOR
        common = struct.pack("<2H2H", self.flags, self.method, 0, 33)
        local = struct.pack("<4sH", b"PK\3\4", needed) + common
        numbers = (0, 0, 0) if later and not self.is_wide else (checksum, *shown)
        local += struct.pack("<3L2H", *numbers, len(self.name), len(extra))
        local += self.name + extra + stored
        if later:
            local += (b"PK\7\x08" if self.has_signature else b"") + struct.pack("<L", checksum)
            local += struct.pack("<2Q" if self.is_wide else "<2L", *sizes)
        listed = struct.pack("<4s2BH", b"PK\1\2", self.host_version, self.host, needed) + common
        listed += struct.pack("<3L5H", checksum, *shown, len(self.name), len(extra), 0, 0, 0)
        listed += struct.pack("<2L", self.attributes, place) + self.name + extra
        return local, listed


def written(
    members: list[Member],
    *,
    stub: bytes = b"",
    is_adjusted: bool = True,
    comment: bytes = b"",
    is_wide: bool = False,
    backwards: bool = False,
) -> bytes:
    """An archive; ``is_adjusted``: places are counted from before the stub."""
    body = stub if is_adjusted else b""
    listed = []
    for member in members:
        local, entry = member.written(len(body))
        body += local
        listed.append(entry)
    if backwards:
        listed.reverse()
    directory = b"".join(listed)
    count, start, size = len(listed), len(body), len(directory)
    end = b""
    if is_wide:
        end += struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
        end += struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
        count, start, size = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, start, len(comment))
    archive = body + directory + end + comment
    return archive if is_adjusted else stub + archive


NAMES: Final = (
    *(b"a", b"b", b"c.txt", b"x y", b"\xc3\xbc", b"\x82\xe9", b"\xb3\xc4\xdb", b"v;1", b"e;2x"),
    *(b"t\tab", b"\x7f-", b"f\xff", b"back\\slash", b"."),
)
HOSTS: Final = (*(DOS, DOS, UNIX, UNIX, UNIX), *range(20), 30, 31, 77)
KINDS: Final = (
    *(0, stat.S_IFREG, stat.S_IFREG, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFLNK),
)


@st.composite
def names(draw: st.DrawFn) -> bytes:
    name = b"/".join(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)))
    name = draw(st.sampled_from([b""] * 9 + [b"./"])) + name
    if draw(st.integers(0, 60)) == 0:
        name = draw(st.sampled_from([b"/" + name, b"../" + name, name + b"/../b"]))
    return name + draw(st.sampled_from([b"", b"", b"", b"/"]))


@st.composite
def members(draw: st.DrawFn) -> Member:
    name = draw(names())
    kind = draw(st.sampled_from(KINDS))
    mode = kind | draw(st.sampled_from([0o644, 0o755, 0o600, 0o700, 0o444, 0o555, 0o100, 0]))
    low = draw(st.sampled_from([0, 0, 1, 0x10, 0x20, VOLUME_LABEL, 0x21]))
    attributes = draw(st.sampled_from([mode << 16 | low, mode << 16 | low, low]))
    data = draw(st.one_of(st.binary(max_size=20), st.just(b"many times " * 3000)))
    if kind == stat.S_IFLNK:
        data = draw(st.sampled_from([b"a", b"../x", b"/etc", b"a/", b"", b"b/c.txt"]))
    extra = b""
    for _ in range(draw(st.integers(0, 2))):
        extra += draw(
            st.sampled_from(
                [
                    extra_field(0x5455, b"\1" + bytes(4)),
                    unicode_path(name, b"u\xc3\xa9/" + name.strip(b"/").split(b"/")[-1]),
                    unicode_path(name, b""),
                    unicode_path(name + b"?", b"wrong"),
                    extra_field(0x756E, struct.pack("<LHL2H", 0, mode, 0, 0, 0)),
                    extra_field(0x000C, bytes(8)),
                    extra_field(0xCAFE, b""),
                ]
            )
        )
    return Member(
        name=name,
        data=b"" if name.endswith(b"/") else data,
        method=0 if name.endswith(b"/") else draw(st.sampled_from(list(METHODS))),
        host=draw(st.sampled_from(HOSTS)),
        host_version=draw(st.sampled_from([20, 20, 25, 26, 40, 50, 63])),
        flags=draw(st.sampled_from([0, 0, 0, UTF8, UTF8, DESCRIPTOR, DESCRIPTOR | UTF8]))
        | draw(st.sampled_from([0, WITH_LITERALS, LARGE_WINDOW, WITH_LITERALS | LARGE_WINDOW])),
        attributes=attributes,
        extra=extra,
        is_wide=draw(st.integers(0, 7)) == 0,
        has_signature=draw(st.booleans()),
    )


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """An archive of a few entries."""
    return Shown(
        written(
            draw(st.lists(members(), max_size=5)),
            stub=draw(st.sampled_from([b""] * 6 + [b"MZ, a program", b"#!/bin/sh\n" * 70])),
            is_adjusted=draw(st.booleans()),
            comment=draw(st.sampled_from([b"", b"", b"a comment", b"PK" * 300])),
            is_wide=draw(st.integers(0, 7)) == 0,
            backwards=draw(st.integers(0, 3)) == 0,
        )
    )
