"""``file://`` URLs: a cache may be a directory."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from mirror.errors import IntegrityError, TransientError
from mirror.plain_files import open_plain_file
from mirror.sources.chunks import CHUNK_SIZE
from mirror.sources.http.errors import MissingError
from mirror.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def file_chunks(
    path: Path, *, expected_size: int | None = None
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """A local file's bytes, read off the event loop.

    Raises:
        MissingError: there is no such file, or it cannot be read; a pipe is not waited for.
        IntegrityError: it is not of ``expected_size`` bytes.

    """
    try:
        file = await asyncio.to_thread(open_plain_file, path)
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
