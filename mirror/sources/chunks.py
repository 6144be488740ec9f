"""Chunks of bytes that do not come straight from the network: decoded, made, those of a file."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError, IntegrityError, TransientError
from mirror.formats.compression import decompressor
from mirror.sources.http.errors import MissingError
from mirror.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from pathlib import Path

    from mirror.sources.http.body import Body

CHUNK_SIZE: Final = 1 << 20
"""The size, in bytes, at which a chunk is handed on."""

_ENCODINGS: Final = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "br": "br",
    "zstd": "zstd",
    "xz": "xz",
    "x-xz": "xz",
    "bzip2": "bzip2",
    "x-bzip2": "bzip2",
}


async def decoded(body: Body, url: str, *, cap: int | None = None) -> AsyncGenerator[bytes]:
    """The chunks of ``body`` with its Content-Encoding undone.

    Raises:
        IntegrityError: the encoding is unknown or its data malformed, or gives more than ``cap``.

    """
    encoding = body.encodings[0]
    if len(body.encodings) > 1 or encoding not in _ENCODINGS:
        raise IntegrityError(f"{url}: unknown Content-Encoding {', '.join(body.encodings)}")
    stream = decompressor(_ENCODINGS[encoding])
    total = 0
    try:
        async for chunk in body:
            pieces = stream.feed(chunk)
            while (piece := await in_thread(next, pieces, None)) is not None:
                total += len(piece)
                if cap is not None and total > cap:
                    raise IntegrityError(f"{url}: larger than the {cap} bytes it may have")
                yield piece
        stream.finish()
    except FormatError as error:
        raise IntegrityError(f"{url}: Content-Encoding {encoding}: {error.message}") from error


async def in_chunks(pieces: Iterator[bytes]) -> AsyncGenerator[bytes]:
    """The pieces of a generator that blocks, in chunks, each gathered in one job off the loop."""
    while chunk := await in_thread(_gather, pieces):
        yield chunk


def _gather(pieces: Iterator[bytes]) -> bytes:
    gathered: list[bytes] = []
    size = 0
    for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= CHUNK_SIZE:
            break
    return b"".join(gathered)


@contextlib.asynccontextmanager
async def file_chunks(
    path: Path, *, expected_size: int | None = None
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """A local file's bytes, read off the event loop.

    Raises:
        MissingError: there is no such file, or it cannot be read.
        IntegrityError: it is not of ``expected_size`` bytes.

    """
    try:
        file = await asyncio.to_thread(path.open, "rb", buffering=0)
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}") from error

    async def chunks() -> AsyncGenerator[bytes]:
        total = 0
        try:
            while chunk := await in_thread(file.read, CHUNK_SIZE):
                total += len(chunk)
                yield chunk
        except OSError as error:
            raise TransientError(f"{path}: {error.strerror}") from error
        if expected_size is not None and total != expected_size:
            raise IntegrityError(f"{path}: {total} bytes where {expected_size} are expected")

    try:
        yield chunks()
    finally:
        file.close()
