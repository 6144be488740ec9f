"""Starting a program that does not outlive the guard."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
from typing import Final

from mirror.system.guard.protocol import LENGTH

PR_SET_CHILD_SUBREAPER: Final = 36

_PR_SET_PDEATHSIG: Final = 1


def spawn(command: list[bytes], environment: dict[bytes, bytes], descriptors: list[int]) -> int:
    """Start a program, in a session of its own; ``descriptors`` are its streams and its directory.

    Raises:
        OSError: it cannot be started.

    """
    guard = os.getpid()
    read, write = os.pipe()
    try:
        number = os.fork()
        if number == 0:
            become(command, environment, descriptors, guard, write)
        os.close(write)
        write = -1
        failed = os.read(read, LENGTH.size)
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
    if failed:
        os.waitpid(number, 0)
        code = LENGTH.unpack(failed)[0]
        raise OSError(code, os.strerror(code))
    return number


def become(
    command: list[bytes],
    environment: dict[bytes, bytes],
    descriptors: list[int],
    guard: int,
    complaints: int,
) -> None:
    """Become the program, in the new process; errors go to ``complaints``."""
    try:
        # The guard may be gone before the kernel was asked to tell of that.
        control_process(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)
        os.setsid()
        # What Python ignores a program does not expect to be ignored.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        *streams, directory = descriptors
        os.fchdir(directory)
        for place, stream in enumerate(streams):
            # None of them is below 3, where the guard's own streams are.
            os.dup2(stream, place)
        os.execve(command[0], command, environment)  # noqa: S606 - what this is for
    except OSError as error:
        os.write(complaints, LENGTH.pack(error.errno or errno.EIO))
    finally:
        os._exit(127)


def control_process(option: int, value: int) -> None:
    """``prctl(2)``; where it is not to be had, sessions are all that is known of descendants."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
