"""The lock by which a server tells those who prune its directory that clients are about."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_PAUSE_SECONDS: Final = 1.0


@contextlib.asynccontextmanager
async def shared_lock(lock: Path) -> AsyncIterator[None]:
    """Hold the lock that makes pruning wait for clients, as soon as it can be had.

    It may be that the directory has yet to be made, or is being pruned at this moment. Nobody was
    led anywhere yet, so nobody has to wait for it.
    """
    descriptors: list[int] = []
    holding = None if _hold(lock, descriptors) else asyncio.create_task(_try_to(lock, descriptors))
    try:
        yield
    finally:
        if holding is not None:
            holding.cancel()
        for descriptor in descriptors:
            os.close(descriptor)


async def _try_to(lock: Path, descriptors: list[int]) -> None:
    while not _hold(lock, descriptors):  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(_PAUSE_SECONDS)


def _hold(lock: Path, descriptors: list[int]) -> bool:
    """Take a shared lock, and keep its file open, if both can be done now."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    descriptors.append(descriptor)
    return True
