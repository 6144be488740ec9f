"""Files of a destination: durable writes, the lock, and what a failure means to the user.

Blocking, for use off the event loop. What is written here can be read by everyone (0644, and
0755 for directories) whatever the umask is, since other users and web servers read it; but for what
is given to nobody else (0600).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import tempfile
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from mirror.errors import DestinationError, FullError, LockedError
from mirror.system import plain_files
from mirror.system.locks import take_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.destinations.flushing import Flusher

FILE_MODE: Final = 0o644
PRIVATE_MODE: Final = 0o600
"""The mode of what only the owner of a destination may read."""
DIRECTORY_MODE: Final = 0o755

LARGEST_READ: Final = 1 << 28
"""The most that a file which is read whole may have, in bytes: a record of two million paths."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

_NOT_PERMITTED: Final = "run as a user who may read and write there, or choose another destination"
_HINTS: Final = {
    errno.ENOSPC: "make room there, or choose another destination; then run again to continue",
    errno.EDQUOT: "your quota there is used up: make room, then run again to continue",
    errno.EACCES: _NOT_PERMITTED,
    errno.EPERM: _NOT_PERMITTED,
    errno.EROFS: "the file system is mounted read-only: remount it, or choose another destination",
    errno.ENOTDIR: "a file is where a directory should be: choose another destination",
    errno.EEXIST: "a file is where a directory should be: choose another destination",
    errno.EISDIR: "a directory is where a file should be: remove it, then run again",
    errno.EXDEV: "a destination, with all that is linked into it, has to be on one file system",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or lower --jobs",
    errno.ENFILE: "the whole system has too many open files: close some, then run again",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or choose another destination",
    errno.ENOLCK: "its file system has no locks: mount it with them, or choose another place",
    errno.EIO: "the disk reports an error: look at the kernel's log",
}


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an :class:`OSError` about ``path`` into a :class:`DestinationError` that explains it."""
    try:
        yield
    except OSError as error:
        # Of a file that should have been renamed, it is the name it was to have that matters.
        where = error.filename2 or error.filename or path
        kind = FullError if error.errno in _FULL else DestinationError
        raise kind(
            f"{where}: {error.strerror or error}", hint=_HINTS.get(error.errno or 0)
        ) from error


def make_directory(directory: Path) -> None:
    """Make a directory and its parents where they are missing, durably."""
    places = (directory, *directory.parents)
    missing = list(itertools.takewhile(lambda place: not place.is_dir(), places))
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        with _modes_may_be_fixed(place, DIRECTORY_MODE):
            place.chmod(DIRECTORY_MODE)
        sync_directory(place.parent)


def make_file(path: Path) -> None:
    """Make an empty file where it is missing."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            with _modes_may_be_fixed(descriptor, FILE_MODE):
                os.fchmod(descriptor, FILE_MODE)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _modes_may_be_fixed(file: Path | int, mode: int) -> Iterator[None]:
    """Ignore that a mode cannot be set if the file allows as much already.

    On FAT, all files have the mode that they were mounted with: what should be private is not.
    """
    try:
        yield
    except PermissionError:
        if os.stat(file).st_mode & mode != mode:  # noqa: PTH116 - of a descriptor, too
            raise


def read_plain_file(path: Path) -> bytes:
    """The content of a plain file, be it by a link; a pipe or a device is not waited for.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger than any that is written here.

    """
    return plain_files.read_plain_file(path, at_most=LARGEST_READ)


def sync_directory(directory: Path) -> None:
    """Make renames in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(
    path: Path,
    data: bytes,
    *,
    temporaries: Path,
    prefix: str | None = None,
    like: Path | None = None,
    mode: int = FILE_MODE,
) -> None:
    """Replace a file atomically: a reader of ``path`` sees the old content or all of the new.

    ``temporaries`` is a directory on the same file system, in which its name begins with
    ``prefix``. The content is durable before it has its name; the name is once ``path``'s directory
    is synced. It has the mode of ``like`` and, where that is allowed, its owner; without such a
    file it has ``mode``.
    """
    descriptor, name = tempfile.mkstemp(dir=temporaries, prefix=prefix)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            complete(file, like=like, mode=mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is to be at ``path`` with this content and mode."""

    path: Path
    data: bytes
    mode: int = FILE_MODE


def replace_files(
    written: Iterable[Written], *, temporaries: Path, flusher: Flusher
) -> Iterator[Path]:
    """Replace several files atomically, one after the other; gives each that has its new content.

    The contents of all of them are durable before the first is replaced. Where one cannot be
    written, those before it are replaced all the same.

    Raises:
        OSError: one cannot be written, made durable or replaced.

    """
    with contextlib.ExitStack() as stack:
        opened: list[int] = []
        waiting: deque[tuple[Path, Path]] = deque()
        stack.callback(_unlink, waiting)
        problem = None
        try:
            for each in written:
                descriptor, name = tempfile.mkstemp(dir=temporaries)
                stack.callback(os.close, descriptor)
                waiting.append((Path(name), each.path))
                _write(descriptor, each.data)
                _set_mode(descriptor, each.mode)
                opened.append(descriptor)
        except OSError as error:
            problem = error
        if opened:
            flusher.flush(opened)
        for _ in opened:
            temporary, path = waiting[0]
            temporary.replace(path)
            waiting.popleft()
            yield path
        if problem is not None:
            raise problem


def _write(descriptor: int, data: bytes) -> None:
    """Write all of it: the system may take a part."""
    while data:
        data = data[os.write(descriptor, data) :]


def _unlink(waiting: Iterable[tuple[Path, Path]]) -> None:
    for temporary, _ in waiting:
        temporary.unlink(missing_ok=True)


def complete(file: IO[bytes], *, like: Path | None = None, mode: int = FILE_MODE) -> None:
    """Give a temporary file's content to the system, and the file its ``mode``.

    ``like`` is a file whose mode and owner it is to have instead, if it is there.
    """
    file.flush()
    _set_mode(file.fileno(), mode if like is None else _given_as(file, like, mode))


def _set_mode(descriptor: int, mode: int) -> None:
    with _modes_may_be_fixed(descriptor, mode):
        os.fchmod(descriptor, mode)


def _given_as(file: IO[bytes], like: Path, otherwise: int) -> int:
    """Give a file to the owner of another, where that is allowed; the other's mode."""
    try:
        status = like.stat()
    except FileNotFoundError:
        return otherwise
    # Only root can give a file to another user; who else may write it is its owner then.
    with contextlib.suppress(PermissionError):
        os.fchown(file.fileno(), status.st_uid, status.st_gid)
    return status.st_mode & 0o777


@contextlib.contextmanager
def locked(lock: Path, thing: str) -> Iterator[None]:
    """Hold a lock file within the context; the kernel releases it if the process dies.

    Raises:
        LockedError: another process holds it; the text says which, and since when.
        DestinationError: the file cannot be made, or not be locked.

    """
    with explained(lock):
        make_directory(lock.parent)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        with explained(lock):
            if not take_lock(descriptor):
                holder = os.pread(descriptor, 500, 0).decode(errors="replace").strip()
                raise LockedError(
                    f"{thing} is in use by another run ({holder or 'an unknown process'})",
                    hint="wait until it has ended; a run that was killed holds no lock",
                )
            with _modes_may_be_fixed(descriptor, FILE_MODE):
                os.fchmod(descriptor, FILE_MODE)
            _write_holder(descriptor)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _write_holder(descriptor: int) -> None:
    """Write the holder into a lock file."""
    since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    holder = f"process {os.getpid()} on {socket.gethostname()} since {since}\n"
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, holder.encode(), 0)
    except OSError as error:
        # It is only for people, and on a full disk whoever removes something has to be let in.
        if error.errno not in _FULL:
            raise
