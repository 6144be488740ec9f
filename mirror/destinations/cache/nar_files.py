"""Reading the paths of a cache directory back: their NARs as they are, or what one file has."""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.cache.layout import nar_file, narinfo_name
from mirror.destinations.capabilities import KeptNar
from mirror.errors import FormatError, IntegrityError, NotAvailableError
from mirror.formats.nar_content import file_content
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.verifier import Claim
from mirror.system.plain_files import open_plain_file
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from mirror.formats.narinfo import NarInfo
    from mirror.formats.store_path import StorePath

_READ_SIZE: Final = 1 << 20


@contextlib.asynccontextmanager
async def read_path(directory: Path, path: StorePath) -> AsyncIterator[KeptNar]:
    """Open the NAR of a path of the cache ``directory``.

    Raises:
        NotAvailableError: the path is not there.
        IntegrityError: it is damaged.

    """
    name = narinfo_name(path)
    try:
        entry = parse_narinfo(await in_thread(files.read_plain_file, directory / name))
        nar_file(entry)
    except FileNotFoundError as error:
        raise NotAvailableError(f"{directory} does not have {path}") from error
    except OSError as error:
        raise IntegrityError(f"{directory / name} cannot be read: {error.strerror}") from error
    except FormatError as error:
        raise IntegrityError(f"{directory / name}: {error.message}") from error
    if entry.info.path != path:
        raise IntegrityError(f"{directory / name}: it is for {entry.info.path}, not {path}")
    claim = Claim(
        info=entry.info,
        compression=entry.compression,
        file_size=entry.info.nar_size if entry.compression == "none" else None,
    )
    async with open_nar(directory, entry, claim) as kept:
        yield kept


@contextlib.asynccontextmanager
async def open_nar(directory: Path, entry: NarInfo, claim: Claim) -> AsyncIterator[KeptNar]:
    """Open the file of a NAR, which is in its place.

    Raises:
        NotAvailableError: it cannot be opened.

    """
    file = directory / entry.url
    try:
        stream = await in_thread(open_plain_file, file)
    except (OSError, ValueError) as error:  # ValueError: no name of a file
        reason = error.strerror if isinstance(error, OSError) else error
        raise NotAvailableError(f"{file} cannot be read: {reason}") from error
    with stream:
        yield KeptNar(claim=claim, chunks=_chunks(stream, file), location=str(file))


async def _chunks(stream: IO[bytes], file: Path) -> AsyncIterator[bytes]:
    try:
        while chunk := await in_thread(stream.read, _READ_SIZE):
            yield chunk
    except OSError as error:
        raise IntegrityError(f"{file} cannot be read: {error.strerror or error}") from error


def read_files(directory: Path, paths: Iterable[StorePath]) -> dict[StorePath, bytes]:
    """The contents of paths that are one file each; what cannot be read is left out. It blocks."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError, FormatError):
            data = files.read_plain_file(directory / narinfo_name(path))
            found[path] = content_of(directory, parse_narinfo(data))
    return found


def content_of(directory: Path, entry: NarInfo) -> bytes:
    """The content of a path that is one file. It blocks.

    Raises:
        OSError: its NAR is not there, or cannot be read.
        FormatError: it is damaged, or elsewhere.

    """
    return file_content(files.read_plain_file(directory / nar_file(entry)), entry.compression)
