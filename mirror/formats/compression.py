"""The compressions of binary caches, undone piece by piece.

A small file can stand for terabytes of zeros: whatever it is fed, a decompressor gives pieces of at
most :data:`PIECE_SIZE` bytes, so that the reader can count them and stop. Files of several frames
or streams are read to their last; what is cut short is an error.

What follows the last stream is judged as Nix does (2.8 and 2.34 alike, by libarchive): xz may be
padded with zero bytes, in multiples of four, zstd with nothing; after gzip and bzip2 anything may
come that does not begin as another stream does. What follows brotli, which Nix ignores, is refused:
the library does not tell it from damage.
"""

from __future__ import annotations

import bz2
import lzma
import re
import sys
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import brotli  # type: ignore[import-untyped]  # it ships no types

from mirror.errors import FormatError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS: Final = ("none", "xz", "zstd", "bzip2", "gzip", "br")
"""The names that narinfo files have for them."""

PIECE_SIZE: Final = 1 << 20
"""The largest piece that comes out, in bytes."""

_XZ_MEMORY: Final = (1 << 27) + (1 << 20)
"""What an xz stream may ask for: a dictionary as large as the window that zstd allows, 128 MiB.

``xz -9`` asks for half of it, and many streams are read at once.
"""
_GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS
_BROTLI_LIMIT: Final = PIECE_SIZE // 2
"""brotli fills buffers that double in size, and stops after the one that passes the limit."""

_GZIP_HEAD: Final = re.compile(rb"\x1f\x8b\x08[\0-\x1f].{6}", re.DOTALL)
_BZIP2_HEAD: Final = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90).{4}", re.DOTALL)
_XZ_HEAD: Final = re.compile(rb"\xfd7zXZ\0")
_ZSTD_HEAD: Final = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")


class Decompressor(Protocol):
    """Bytes in, as they arrive; uncompressed bytes out."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decompress more; the iterator is exhausted before the next call.

        Raises:
            FormatError: the data is malformed.

        """
        ...

    def finish(self) -> None:
        """Say that nothing more comes.

        Raises:
            FormatError: the data is cut short.

        """
        ...


def decompressor(method: str, *, ignores_rest: bool = False) -> Decompressor:
    """A new decompressor for ``method``, one of :data:`METHODS`.

    ``ignores_rest``: anything may follow, whatever the method, that does not begin as another
    stream does.

    Raises:
        FormatError: it is none of them.

    """
    if method == "none":
        return _Plain()
    if method == "br":
        return _Brotli()
    if method not in _FORMATS:
        raise FormatError(f"unknown compression {method!r}; known are {', '.join(METHODS)}")
    return _Streams(method, _FORMATS[method], ignores_rest=ignores_rest)


class ZstdCompressor:
    """Compresses to one zstd frame with a checksum, of any length.

    It takes some 4 MB, which :func:`compress_by_zstd` does not where all is there at once.
    """

    def __init__(self, level: int = zstd.COMPRESSION_LEVEL_DEFAULT) -> None:
        parameters = zstd.CompressionParameter
        self._compressor = zstd.ZstdCompressor(
            options={parameters.compression_level: level, parameters.checksum_flag: True}
        )

    def feed(self, data: bytes) -> bytes:
        """Compress more; what comes out may be empty."""
        return self._compressor.compress(data)

    def finish(self) -> bytes:
        """Return the end of the frame."""
        return self._compressor.flush()


def compress_by_zstd(data: bytes) -> bytes:
    """Compress all of the data to one frame with a checksum.

    As the length is known, what this takes of memory goes by it, and the frame says how much a
    reader has to have.
    """
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: True})


class _Stream(Protocol):
    """One stream or frame, as the standard library's decompressor classes read it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _StreamMaker(Protocol):
    def __call__(self) -> _Stream: ...


def _xz() -> _Stream:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


class _GzipMember:
    """One member of a gzip file, with the interface of the other decompressors."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_FORMAT)
        self._maybe_more = False

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def needs_input(self) -> bool:
        return not self._maybe_more

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        tail = self._member.unconsumed_tail
        piece = self._member.decompress(tail + data if tail else data, max_length)
        # zlib may hold more in its window although it has taken all of its input.
        self._maybe_more = not self.eof and (
            len(piece) == max_length or bool(self._member.unconsumed_tail)
        )
        return piece


class _Plain:
    """No compression."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        if len(data) <= PIECE_SIZE:
            if data:
                yield data
            return
        for start in range(0, len(data), PIECE_SIZE):
            yield data[start : start + PIECE_SIZE]

    def finish(self) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """How one kind of stream is read.

    Another follows where ``head`` matches the first ``head_size`` bytes behind it; what else may
    follow are zero bytes in multiples of ``padding``, and anything if ``has_rest``.
    """

    make: _StreamMaker
    head: re.Pattern[bytes]
    head_size: int
    padding: int = 0
    has_rest: bool = False


_FORMATS: Final = {
    "xz": _Format(make=_xz, head=_XZ_HEAD, head_size=6, padding=4),
    "zstd": _Format(make=zstd.ZstdDecompressor, head=_ZSTD_HEAD, head_size=4),
    "bzip2": _Format(make=bz2.BZ2Decompressor, head=_BZIP2_HEAD, head_size=14, has_rest=True),
    "gzip": _Format(make=_GzipMember, head=_GZIP_HEAD, head_size=10, has_rest=True),
}


class _Streams:
    """Streams one after the other, and what follows the last."""

    def __init__(self, method: str, form: _Format, *, ignores_rest: bool) -> None:
        self._method = method
        self._format = form
        self._has_rest = form.has_rest or ignores_rest
        self._stream: _Stream | None = None
        self._streams_ended = 0
        self._padded = 0
        self._head = b""
        self._is_over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while data and not self._is_over:
                if self._stream is None:
                    data = self._next_stream(data)
                    if not data:
                        return
                    self._stream = self._format.make()
                stream = self._stream
                piece = stream.decompress(data, PIECE_SIZE)
                if piece:
                    yield piece
                while not stream.eof and not stream.needs_input:
                    piece = stream.decompress(b"", PIECE_SIZE)
                    if piece:
                        yield piece
                if not stream.eof:
                    return
                data = stream.unused_data
                self._stream = None
                self._streams_ended += 1
        except (lzma.LZMAError, zstd.ZstdError, zlib.error, OSError, EOFError) as error:
            what = f"what follows {self._method} stream {self._streams_ended} is not another stream"
            if not self._streams_ended:
                what = f"malformed {self._method} data"
            raise FormatError(f"{what}: {error}") from error

    def finish(self) -> None:
        is_padded_wrongly = self._padded and not self._has_rest
        if self._stream is not None or not self._streams_ended or is_padded_wrongly:
            raise FormatError(f"the {self._method} data is cut short")

    def _next_stream(self, data: bytes) -> bytes:
        """What another stream begins with; nothing if none does, or while it cannot be told."""
        if not self._streams_ended:
            return data
        data = self._skip_padding(self._head + data)
        self._head = b""
        if not data or not self._has_rest:
            return data
        if len(data) < self._format.head_size:
            self._head = data
            return b""
        self._is_over = self._padded != 0 or not self._format.head.match(data)
        return b"" if self._is_over else data

    def _skip_padding(self, data: bytes) -> bytes:
        padding = self._format.padding
        if not padding:
            return data
        rest = data.lstrip(b"\0")
        self._padded = (self._padded + len(data) - len(rest)) % padding
        if rest and self._padded and not self._has_rest:
            raise FormatError(f"{self._method} padding is not a multiple of {padding} bytes")
        return rest


class _Brotli:
    """One brotli stream; the library itself refuses what follows it."""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not data:
            return
        try:
            piece = self._stream.process(data, output_buffer_limit=_BROTLI_LIMIT)
            while piece or not self._stream.can_accept_more_data():
                if piece:
                    yield piece
                if self._stream.is_finished():
                    return
                piece = self._stream.process(b"", output_buffer_limit=_BROTLI_LIMIT)
        except brotli.error as error:
            raise FormatError("malformed br data, or something follows it") from error

    def finish(self) -> None:
        if not self._stream.is_finished():
            raise FormatError("the br data is cut short")
