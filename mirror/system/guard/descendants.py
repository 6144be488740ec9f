"""What descends from a process, and signals that reach nobody else."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def descendants(number: int, others: Mapping[int, str] | None = None) -> dict[int, str]:
    """All that now descends from a process, with the start of each.

    And all that descends from those ``others`` that are still the processes of these starts.
    """
    children: dict[int, list[tuple[int, str]]] = {}
    starts: dict[int, str] = {}
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - it is many processes, and no paths
    except OSError:
        return {}
    for name in names:
        if name.isdecimal() and (found := parent_and_start(int(name))) is not None:
            parent, starts[int(name)] = found
            children.setdefault(parent, []).append((int(name), found[1]))
    waiting = [
        number,
        *(each for each, start in (others or {}).items() if starts.get(each) == start),
    ]
    below: dict[int, str] = {}
    while waiting:
        for child, start in children.get(waiting.pop(), ()):
            if child not in below:
                below[child] = start
                waiting.append(child)
    return below


def parent_and_start(number: int) -> tuple[int, str] | None:
    """A process's parent and start time; None if it has ended."""
    try:
        with open(f"/proc/{number}/stat", "rb") as stream:  # noqa: PTH123 - as above
            text = stream.read()
    except OSError:
        return None
    state, parent, *others = text.rpartition(b")")[2].split()
    return None if state in b"ZX" else (int(parent), others[17].decode())


def signal_group(number: int, what: int) -> None:
    """Signal a process group, if any of it is left."""
    # One that became another user, as sudo does, ends when it likes.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(number, what)


def signal_process(number: int, start: str, what: int) -> None:
    """Signal a process, unless its number belongs to another one by now."""
    with contextlib.suppress(OSError):
        try:
            descriptor = os.pidfd_open(number)
        except OSError as error:
            if error.errno not in {errno.ENOSYS, errno.EPERM, errno.EMFILE}:
                return
            os.kill(number, what)
            return
        try:
            found = parent_and_start(number)
            if found is not None and found[1] == start:
                signal.pidfd_send_signal(descriptor, what)
        finally:
            os.close(descriptor)
