"""NAR, the archive format that store paths are hashed and copied in: nodes and the writer.

A NAR is a sequence of strings, each its length (64 bits, little-endian), its bytes, and zero bytes
up to a multiple of eight::

    nar-archive  = "nix-archive-1" node
    node         = "(" "type" ("regular" ["executable" ""] "contents" BYTES
                              | "symlink" "target" BYTES
                              | "directory" {"entry" "(" "name" BYTES "node" node ")"}) ")"

Entries are sorted by name, as bytes. There are no owners, times or other permissions, so equal
trees have equal NARs. Source: Nix's ``src/libutil/archive.cc``; the limits are those of Nix 2.34.

Here are the nodes, the writer, and what reads a small NAR into nodes; :class:`NarParser` reads NARs
of any size as they arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError
from mirror.formats import nar_strings as wire
from mirror.formats.nar_parser import NarParser, NarSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = [
    "Directory",
    "NarParser",
    "NarSink",
    "Node",
    "Regular",
    "Symlink",
    "parse",
    "serialize",
    "serialized_size",
]

_PIECE_SIZE: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Regular:
    """A file of ``size`` bytes, which each call of ``read`` yields from the beginning."""

    size: int
    executable: bool
    read: Callable[[], Iterable[bytes]]

    @classmethod
    def of(cls, contents: bytes, *, executable: bool = False) -> Regular:
        """A file whose contents are in memory."""
        return cls(len(contents), executable, lambda: (contents,))


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link."""

    target: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory; the order of ``entries`` does not matter."""

    entries: Mapping[bytes, Node]


Node = Regular | Symlink | Directory


def serialize(node: Node) -> Iterator[bytes]:
    """Write the NAR, in pieces of some 256 KiB or of what ``read`` gives where that is larger.

    Raises:
        FormatError: a name, a link's target or the depth is more than Nix accepts, or a file's
            contents are not as long as its ``size`` says.

    """
    gathered: list[bytes] = []
    size = 0
    for piece in _pieces(node, b"", 0):
        gathered.append(piece)
        size += len(piece)
        if size >= _PIECE_SIZE:
            yield b"".join(gathered) if len(gathered) > 1 else piece
            gathered.clear()
            size = 0
    if gathered:
        yield b"".join(gathered)


def serialized_size(node: Node) -> int:
    """The NAR's length in bytes, without reading any file."""
    return len(wire.MAGIC) + _node_size(node)


def parse(data: bytes) -> Node:
    """Read a small NAR into memory.

    Raises:
        FormatError: it is not a NAR that Nix accepts.

    """
    builder = _TreeBuilder()
    parser = NarParser(builder)
    parser.feed(data)
    parser.finish()
    return builder.top[b""]


def _pieces(node: Node, where: bytes, depth: int) -> Iterator[bytes]:
    """The node's strings; the depth, and so the recursion, is bounded."""
    wire.check_depth(depth, where)
    head = wire.OPEN_TYPE if depth else wire.MAGIC + wire.OPEN_TYPE
    match node:
        case Regular():
            yield (
                head
                + wire.REGULAR
                + (wire.EXECUTABLE if node.executable else b"")
                + wire.CONTENTS
                + wire.LENGTH.pack(node.size)
            )
            size = 0
            for chunk in node.read():
                size += len(chunk)
                yield chunk
            if size != node.size:
                raise FormatError(f"{wire.show(where)}: {size} bytes were read, not {node.size}")
            yield wire.PADDING[: -size % 8] + wire.CLOSE
        case Symlink():
            wire.check_target(node.target, where)
            yield head + wire.SYMLINK + wire.string(node.target) + wire.CLOSE
        case Directory():
            yield head + wire.DIRECTORY
            for name in sorted(node.entries):
                wire.check_name(name, where)
                yield wire.ENTRY + wire.string(name) + wire.NODE
                yield from _pieces(node.entries[name], where + b"/" + name, depth + 1)
                yield wire.CLOSE
            yield wire.CLOSE


def _padded(size: int) -> int:
    return size + -size % 8


def _node_size(root: Node) -> int:
    total = 0
    pending = [root]
    while pending:
        node = pending.pop()
        total += len(wire.OPEN_TYPE) + len(wire.CLOSE)
        match node:
            case Regular():
                total += len(wire.REGULAR) + len(wire.CONTENTS) + 8 + _padded(node.size)
                if node.executable:
                    total += len(wire.EXECUTABLE)
            case Symlink():
                total += len(wire.SYMLINK) + 8 + _padded(len(node.target))
            case Directory():
                total += len(wire.DIRECTORY)
                for name, entry in node.entries.items():
                    total += (
                        len(wire.ENTRY) + 8 + _padded(len(name)) + len(wire.NODE) + len(wire.CLOSE)
                    )
                    pending.append(entry)
    return total


class _TreeBuilder:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.top: dict[bytes, Node] = {}
        self._open = [self.top]
        self._file = b"", 0, False
        self._contents = bytearray()

    def enter_directory(self, name: bytes) -> None:
        entries: dict[bytes, Node] = {}
        self._open[-1][name] = Directory(entries)
        self._open.append(entries)

    def leave_directory(self) -> None:
        self._open.pop()

    def symlink(self, name: bytes, target: bytes) -> None:
        self._open[-1][name] = Symlink(target)

    def regular(self, name: bytes, size: int, *, executable: bool) -> None:
        self._file = name, size, executable
        self._contents.clear()
        if not size:
            self.contents(memoryview(b""))

    def contents(self, data: memoryview) -> None:
        self._contents += data
        name, size, executable = self._file
        if len(self._contents) == size:
            self._open[-1][name] = Regular.of(bytes(self._contents), executable=executable)
