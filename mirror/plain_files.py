"""Opening files that may be something else: where a name is, others may have put a pipe."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def open_plain_file(path: Path) -> IO[bytes]:
    """Open a plain file, be it by a link, to be read without a buffer.

    Raises:
        OSError: it cannot be opened, or is no plain file.

    """
    # A pipe would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a plain file", str(path))
        stack.pop_all()
    return os.fdopen(descriptor, "rb", buffering=0)
