"""Processes that are ended with all that they started, whatever becomes of who waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

_PATIENCE: Final = 5.0


@contextlib.asynccontextmanager
async def started(
    command: Sequence[str | Path],
    *,
    stdin: int,
    stdout: int | IO[str],
    stderr: int | IO[str],
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    patience: float = _PATIENCE,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a program; if it still runs when the context is left, it and its children are ended.

    ``environment`` is all of its own, None for this process's. ``patience`` is how many seconds
    they have to end by themselves, once asked to. If this process is killed, the kernel ends the
    program, where util-linux's ``setpriv`` is there to ask it to.

    Raises:
        OSError: it cannot be started.

    """
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *_ending_with_us(command),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            cwd=directory,
            # A group of its own: the terminal's Ctrl-C reaches us, and we end it in order.
            start_new_session=True,
        )
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # It may run already, and have started others: asyncio would end it alone.
        with contextlib.suppress(OSError):
            await _end(await starting, patience)
        raise
    try:
        yield process
    finally:
        if process.returncode is None:
            await _end(process, patience)


def _ending_with_us(command: Sequence[str | Path]) -> Sequence[str | Path]:
    """The command as one that the kernel ends when this process is killed, where it can be."""
    # What is not there is to be missed by name.
    if shutil.which(command[0]) is None:
        return command
    return [*_end_with_us(), *command]


@functools.cache
def _end_with_us() -> tuple[str, ...]:
    """What is put in front of a command for that; nothing where it does not work."""
    setpriv = shutil.which("setpriv")
    # Busybox has one that knows nothing of this.
    if setpriv is None or Path(setpriv).resolve().name != "setpriv":
        return ()
    before = (setpriv, "--pdeathsig", "TERM", "--")
    # It sets capabilities again as they are, which a confined service may not.
    tried = subprocess.run(
        [*before, setpriv, "--version"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return before if tried.returncode == 0 else ()


async def _end(process: asyncio.subprocess.Process, patience: float) -> None:
    """End a process and its group: politely, then not."""
    _signal_group(process, signal.SIGTERM)
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience)
    finally:
        # Also where it has ended itself: what it started may not have.
        _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # One that became another user, as sudo does, ends when it likes, and is waited for.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
