"""What is in the one file that a NAR is of, such as a derivation; for small ones, in memory."""

from __future__ import annotations

from mirror.formats.compression import decompressor
from mirror.formats.nar_parser import NarParser


def file_content(nar: bytes, compression: str) -> bytes:
    """The content of the file that a NAR is of; ``compression`` is that of the NAR.

    Raises:
        FormatError: it is malformed.

    """
    content = _Content()
    parser = NarParser(content)
    stream = decompressor(compression)
    for piece in stream.feed(nar):
        parser.feed(piece)
    stream.finish()
    parser.finish()
    return bytes(content.data)


class _Content:
    """What a NAR's files have, one after the other; a sink of its parser."""

    def __init__(self) -> None:
        self.data = bytearray()

    def enter_directory(self, name: bytes) -> None: ...

    def leave_directory(self) -> None: ...

    def symlink(self, name: bytes, target: bytes) -> None: ...

    def regular(self, name: bytes, size: int, *, executable: bool) -> None: ...

    def contents(self, data: memoryview) -> None:
        self.data += data
