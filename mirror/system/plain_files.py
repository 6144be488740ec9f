"""Opening and reading files safely, when a name may lead to a pipe, a device or a huge file.

What a user names (a list, a key) may be a pipe on purpose, as ``<(…)`` of a shell is:
:func:`read_given_file` takes it, and waits for it on the event loop, so that an interruption ends
that. Everything else is a regular file (:func:`open_plain_file`). Nothing is read that has no end,
or is absurdly large.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from typing import IO, TYPE_CHECKING, Final

from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

LARGEST_TEXT: Final = 16 << 20
"""So many bytes a text that somebody has written (a list, a module) may have."""
LARGEST_SECRET: Final = 1 << 20
"""So many bytes a key, or a file of credentials, may have."""
_PIECE: Final = 1 << 20
_KINDS: Final = (
    (stat.S_ISDIR, errno.EISDIR, os.strerror(errno.EISDIR)),
    (stat.S_ISCHR, errno.EINVAL, "a device, not a regular file"),
    (stat.S_ISBLK, errno.EINVAL, "a device, not a regular file"),
    (stat.S_ISFIFO, errno.EINVAL, "a pipe, not a regular file"),
    (stat.S_ISSOCK, errno.EINVAL, "a socket, not a regular file"),
)


def open_plain_file(path: Path) -> IO[bytes]:
    """Open a plain file, be it by a link, to be read without a buffer.

    Raises:
        OSError: it cannot be opened, or is no plain file.

    """
    descriptor = open_to_read(path)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        _expect_plain(path, os.fstat(descriptor))
        stack.pop_all()
    return os.fdopen(descriptor, "rb", buffering=0)


def read_plain_file(path: Path, *, at_most: int = LARGEST_TEXT) -> bytes:
    """The content of a plain file, be it by a link; a pipe or a device is not waited for.

    Raises:
        OSError: it cannot be read, is no plain file, or has more than ``at_most`` bytes.

    """
    with open_plain_file(path) as file:
        if os.fstat(file.fileno()).st_size > at_most:
            raise too_large(path, at_most)
        # Some say that they are empty (/proc), or grow meanwhile.
        data = bytearray()
        while piece := file.read(min(_PIECE, at_most + 1 - len(data))):
            data += piece
        if len(data) > at_most:
            raise too_large(path, at_most)
        return bytes(data)


def see_plain_file(path: Path, *, at_most: int = LARGEST_TEXT) -> None:
    """Check that another program can read a file, as :func:`read_plain_file` would.

    Raises:
        OSError: it cannot.

    """
    with open_plain_file(path) as file:
        if os.fstat(file.fileno()).st_size > at_most:
            raise too_large(path, at_most)


def why_unreadable(path: Path) -> str | None:
    """Why a file cannot be read as a plain file; None if it can, or is a directory."""
    try:
        see_plain_file(path)
    except IsADirectoryError:
        return None
    except FileNotFoundError:
        return f"there is no {path}"
    except (OSError, ValueError) as error:  # ValueError: no name of a file
        return f"{path} cannot be read: {reason(error)}"
    return None


def is_file(path: Path) -> bool:
    """Whether a regular file is there, as far as this user may know; it has no error."""
    return os.path.isfile(path)  # noqa: PTH113 - Path has errors


def is_directory(path: Path) -> bool:
    """Whether a directory is there, as far as this user may know; it has no error."""
    return os.path.isdir(path)  # noqa: PTH112 - Path has errors


def is_there(path: Path) -> bool:
    """Whether anything is there, as far as this user may know; it has no error."""
    return os.path.exists(path)  # noqa: PTH110 - Path has errors


def reason(error: OSError | ValueError) -> str:
    """What an error of a file says, without the file's name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


async def read_given_file(path: Path, *, at_most: int = LARGEST_TEXT) -> bytes:
    """The content of a file that a user has named: a plain one, or a pipe.

    The null device is empty. Cancelled, it no longer waits for a pipe.

    Raises:
        OSError: it cannot be read, is something else, or has more than ``at_most`` bytes.
        ValueError: no file has such a name.

    """
    pieces = given_pieces(path, at_most=at_most)
    async with contextlib.aclosing(pieces):
        return b"".join([piece async for piece in pieces])


async def given_pieces(path: Path, *, at_most: int) -> AsyncGenerator[bytes]:
    """The same piece by piece, for what need not be in memory as a whole."""
    with contextlib.ExitStack() as stack:
        descriptor = await in_thread(open_to_read, path)
        stack.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == _null_device():
            return
        is_pipe = stat.S_ISFIFO(status.st_mode)
        if not is_pipe:
            _expect_plain(path, status)
        length = 0
        while piece := await (_next(descriptor) if is_pipe else in_thread(_read, descriptor)):
            length += len(piece)
            if length > at_most:
                raise too_large(path, at_most)
            yield piece


async def _next(pipe: int) -> bytes:
    """The next piece of a pipe; at its end, nothing.

    It is waited for before each: a named one has no end until somebody has opened it to write.
    """
    loop = asyncio.get_running_loop()
    while True:
        readable = asyncio.Event()
        loop.add_reader(pipe, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(pipe)
        with contextlib.suppress(BlockingIOError):
            return _read(pipe)


def _read(descriptor: int) -> bytes:
    return os.read(descriptor, _PIECE)


def open_to_read(path: str | Path, *, follows_links: bool = True) -> int:
    """Open a file, of whatever kind it is, to be read; a pipe is not waited for.

    Raises:
        OSError: it cannot be opened, or is a link that is not to be followed.

    """
    link = 0 if follows_links else os.O_NOFOLLOW
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | link)


def _null_device() -> int:
    return os.stat(os.devnull).st_rdev  # noqa: PTH116 - a name of the system's


def _expect_plain(path: Path, status: os.stat_result) -> None:
    for is_one, number, what in _KINDS:
        if is_one(status.st_mode):
            raise OSError(number, what, str(path))


def too_large(path: Path, at_most: int) -> OSError:
    """The error of a file that has more bytes than it may have."""
    return OSError(errno.EFBIG, f"more than {at_most:,} bytes", str(path))
