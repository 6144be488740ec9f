"""The derivations that a destination keeps: what the fixed outputs that it keeps are made by.

They say where a damaged source can be had from, also where nobody has the list any more that it
came from. Blocking, for use off the event loop.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from mirror.destinations import CacheDirectory
from mirror.destinations.cache.layout import nar_file, narinfo_name
from mirror.destinations.files import read_plain_file
from mirror.errors import FormatError
from mirror.formats.aterm import parse_derivation
from mirror.formats.compression import decompressor
from mirror.formats.nar_parser import NarParser
from mirror.formats.narinfo import parse_narinfo
from mirror.planning.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mirror.destinations import NixStore
    from mirror.formats.narinfo import NarInfo
    from mirror.formats.store_path import StorePath


def read_graph(paths: Iterable[StorePath], read: Callable[[StorePath], bytes]) -> Graph:
    """The derivations among ``paths``; one that cannot be read is left out."""
    derivations = {}
    for path in paths:
        if path.is_derivation:
            with contextlib.suppress(OSError, FormatError):
                derivations[path] = parse_derivation(path, read(path))
    return Graph(derivations)


def reader(destination: CacheDirectory | NixStore) -> Callable[[StorePath], bytes]:
    """What gives the content of a path of ``destination`` that is one file.

    It raises OSError where that is not there or cannot be read, FormatError where it is damaged.
    """
    if isinstance(destination, CacheDirectory):
        return partial(_read_from_cache, destination.path)
    return lambda path: destination.store.real(path).read_bytes()


def _read_from_cache(directory: Path, path: StorePath) -> bytes:
    return content_of(directory, parse_narinfo(read_plain_file(directory / narinfo_name(path))))


def content_of(directory: Path, entry: NarInfo) -> bytes:
    """The content of a path of a cache that is one file.

    Raises:
        OSError: its NAR is not there, or cannot be read.
        FormatError: it is damaged, or elsewhere.

    """
    content = _Content()
    parser = NarParser(content)
    stream = decompressor(entry.compression)
    for piece in stream.feed(read_plain_file(directory / nar_file(entry))):
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
