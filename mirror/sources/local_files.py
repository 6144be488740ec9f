"""``file://`` URLs: a cache may be a directory."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mirror.errors import IntegrityError, NotAvailableError, TransientError
from mirror.sources.server_errors import GoneError, MissingError
from mirror.system.chunks import CHUNK_SIZE
from mirror.system.plain_files import open_plain_file
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


@contextlib.asynccontextmanager
async def file_chunks(
    url: str, *, expected_size: int | None = None
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """The bytes of the file that a ``file://`` URL names, read off the event loop.

    Raises:
        MissingError: there is no such file, or it cannot be read; a pipe is not waited for.
        IntegrityError: it is not of ``expected_size`` bytes.

    """
    path = path_of(url)
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


async def file_size(url: str) -> int:
    """The size in bytes of the file that a ``file://`` URL names.

    Raises:
        GoneError: there is no such file.
        NotAvailableError: it cannot be seen.

    """
    path = path_of(url)
    try:
        return (await asyncio.to_thread(path.stat)).st_size
    except FileNotFoundError as error:
        raise GoneError(f"{url}: there is no such file") from error
    except OSError as error:
        raise NotAvailableError(f"{url}: {error.strerror}") from error


def path_of(url: str) -> Path:
    """The file that a ``file://`` URL names.

    Raises:
        MissingError: it names none of this machine's.

    """
    nowhere = MissingError(f"{url}: a file:// URL must name a file of this machine")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise nowhere from error
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc not in {"", "localhost"} or "\0" in path:
        raise nowhere
    return Path(path)
