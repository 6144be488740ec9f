"""The strings that NARs are made of (:mod:`mirror.formats.nar`), and the limits that Nix sets."""

from __future__ import annotations

import struct
from typing import Final

from mirror.errors import FormatError

LENGTH: Final = struct.Struct("<Q")
PADDING: Final = bytes(8)
MAXIMUM_DEPTH: Final = 64
"""How many nodes there may be one inside the other, the root included."""
MAXIMUM_NAME: Final = 255
MAXIMUM_TARGET: Final = 4095


def string(data: bytes) -> bytes:
    """``data`` as a NAR string: length, bytes, padding."""
    return LENGTH.pack(len(data)) + data + PADDING[: -len(data) % 8]


def strings(*texts: str) -> bytes:
    """Several strings one after the other."""
    return b"".join(string(text.encode()) for text in texts)


MAGIC: Final = strings("nix-archive-1")
OPEN_TYPE: Final = strings("(", "type")
REGULAR: Final = strings("regular")
SYMLINK_TYPE: Final = strings("symlink")
SYMLINK: Final = strings("symlink", "target")
DIRECTORY: Final = strings("directory")
EXECUTABLE: Final = strings("executable", "")
CONTENTS: Final = strings("contents")
ENTRY: Final = strings("entry", "(", "name")
NODE: Final = strings("node")
CLOSE: Final = strings(")")

RESERVED: Final = frozenset({b".", b".."})
"""Names that no entry may have."""


def check_name(name: bytes, where: bytes) -> None:
    """Check an entry's name; ``where`` is the path of its directory.

    Raises:
        FormatError: Nix would not accept it.

    """
    if not name or name in RESERVED or b"/" in name or b"\0" in name:
        raise FormatError(f"NAR: {show(where)}: an entry is called {quote(name)!r}")
    if len(name) > MAXIMUM_NAME:
        raise FormatError(
            f"NAR: {show(where)}: a name of {len(name)} bytes; {MAXIMUM_NAME} are allowed"
        )


def check_target(target: bytes, where: bytes) -> None:
    """Check a link's target; ``where`` is the link's path.

    Raises:
        FormatError: Nix would not accept it.

    """
    if not target or b"\0" in target:
        raise FormatError(f"NAR: {show(where)}: a link to {quote(target)!r}")
    if len(target) > MAXIMUM_TARGET:
        raise FormatError(
            f"NAR: {show(where)}: a link's target of {len(target)} bytes; "
            f"{MAXIMUM_TARGET} are allowed"
        )


def check_depth(depth: int, where: bytes) -> None:
    """Check how many nodes are above the one at ``where``.

    Raises:
        FormatError: Nix would not accept as many.

    """
    if depth >= MAXIMUM_DEPTH:
        raise FormatError(f"NAR: {show(where)}: nested deeper than {MAXIMUM_DEPTH}")


def show(path: bytes) -> str:
    """A path inside a NAR, for messages."""
    return quote(path) if path else "/"


def quote(text: bytes) -> str:
    """A name or a link's target, for messages."""
    return text.decode(errors="backslashreplace")
