"""tar archives, whole and with their root stripped: what comes of one is a tree that Nix can hold.

Names and links stay within the tree, since nothing is unpacked into the file system.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fuzz.target import Check, Target
from mirror.errors import FormatError, IntegrityError
from mirror.formats import nar
from mirror.formats.nar import Directory, Node
from mirror.sources.archives.tar import is_tar, read_tar
from mirror.sources.archives.tree import Limits
from mirror.sources.archives.unpack import strip_root

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = 512
_MAGIC: Final = slice(257, 262)
_CHECKSUM: Final = slice(148, 156)
LIMITS: Final = Limits(entries=1_000, size=1 << 20)


@contextlib.contextmanager
def _checking() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "archive"

        def check(data: bytes) -> None:
            is_tar(data[:_BLOCK])
            # A file that is written over is written to the disk at once, which takes its time.
            archive.unlink(missing_ok=True)
            archive.write_bytes(_with_checksums(data))
            check_tree(read_tar(archive, LIMITS))

        yield check


def _with_checksums(data: bytes) -> bytes:
    """Right the checksum of each header, behind which nothing else would be reached."""
    fixed = bytearray(data)
    for start in range(0, len(data) - _BLOCK + 1, _BLOCK):
        header = fixed[start : start + _BLOCK]
        if header[_MAGIC] == b"ustar":
            header[_CHECKSUM] = b" " * 8
            header[_CHECKSUM] = b"%06o\0 " % sum(header)
            fixed[start : start + _BLOCK] = header
    return bytes(fixed)


def check_tree(tree: Node) -> None:
    """See that a tree is within the limits, and can be written as a NAR or is refused."""
    assert _size(tree) <= LIMITS.size
    for each in _both(tree):
        with contextlib.suppress(FormatError):
            written = b"".join(nar.serialize(each))
            assert len(written) == nar.serialized_size(each)
            nar.parse(written)


def _both(tree: Node) -> Iterator[Node]:
    yield tree
    with contextlib.suppress(IntegrityError):
        yield strip_root(tree)


def _size(node: Node) -> int:
    if isinstance(node, Directory):
        return sum(map(_size, node.entries.values()))
    return node.size if isinstance(node, nar.Regular) else 0


TARGET: Final = Target(
    name="tar",
    checking=_checking,
    refusals=(IntegrityError,),
    words=(
        *(b"ustar\x0000", b"ustar  \0", b"././@LongLink", b"../", b"/etc", b"\x80", b"\xff" * 12),
        *(b"17 path=../../x\n", b"22 GNU.sparse.major=1\n", b"GNU.sparse.map=0,1,2", b"size=-1"),
        *(b"0000644\0", b"1", b"2", b"5", b"7", b"g", b"x", b"L", b"K", b"S", b"V"),
    ),
    executions=1_500,
    longest=20_480,
)
