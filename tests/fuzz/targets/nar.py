"""NARs: read in pieces of any size or whole they are the same, and written again the same bytes."""

from __future__ import annotations

import random
import zlib
from typing import TYPE_CHECKING, Final

from fuzz.target import Target, plain
from mirror.errors import FormatError
from mirror.formats import nar
from mirror.formats.nar import NarParser
from mirror.formats.nar_strings import strings

if TYPE_CHECKING:
    from collections.abc import Callable


def _check(data: bytes) -> None:
    is_nar = _is_accepted(in_pieces, data)
    assert is_nar == _is_accepted(nar.parse, data)
    tree = nar.parse(data)
    assert b"".join(nar.serialize(tree)) == data
    assert nar.serialized_size(tree) == len(data)


def _is_accepted(read: Callable[[bytes], object], data: bytes) -> bool:
    try:
        read(data)
    except FormatError:
        return False
    return True


def in_pieces(data: bytes) -> None:
    """Read a NAR as a network might bring it; the same each time."""
    sizes = random.Random(zlib.crc32(data))
    parser = NarParser()
    start = 0
    while start < len(data):
        end = start + sizes.choice((1, 3, 8, 16, 64, 1000))
        parser.feed(data[start:end])
        start = end
    parser.finish()


TARGET: Final = Target(
    name="nar",
    checking=plain(_check),
    words=(
        *(strings("nix-archive-1"), strings("(", "type"), strings("regular"), strings("symlink")),
        *(strings("target"), strings("directory"), strings("executable", ""), strings("contents")),
        *(strings("entry", "(", "name"), strings("node"), strings(")"), strings("."), strings("")),
        *(strings(".."), strings("a/b"), strings("a\0"), strings("x" * 256), strings("type", "x")),
        strings("entry", "(", "name", "zz", "node", "(", "type", "regular", "contents", "", ")"),
    ),
)
