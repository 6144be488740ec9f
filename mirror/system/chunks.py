"""Chunks: the size in which bytes are handed on, and how smaller pieces are gathered to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

CHUNK_SIZE: Final = 1 << 20
"""The size, in bytes, at which a chunk is handed on."""


async def in_chunks(pieces: Iterator[bytes]) -> AsyncGenerator[bytes]:
    """The pieces of a generator that blocks, in chunks, each gathered in one job off the loop."""
    while chunk := await in_thread(_gather, pieces):
        yield chunk
        if len(chunk) < CHUNK_SIZE:
            return  # it is over: of what is small, one job takes all


def _gather(pieces: Iterator[bytes]) -> bytes:
    gathered: list[bytes] = []
    size = 0
    for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= CHUNK_SIZE:
            break
    return b"".join(gathered)
