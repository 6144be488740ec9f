"""Limits for one git repository: time, and space on the disk.

Neither git nor its servers announce how large a repository is, so the size of its directory is
checked from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Final

from mirror.errors import IntegrityError, TransientError
from mirror.sources.origins.made import MORE_ROOM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_PAUSE: Final = 2.0
_SHARE: Final = 20
"""Looking may take one part in so many of the time."""

_BLOCK: Final = 512


@contextlib.asynccontextmanager
async def bounded(
    directory: Path, url: str, *, seconds: float, size: int, pause: float = _PAUSE
) -> AsyncIterator[None]:
    """Cancel what is inside once it took too long, or ``directory`` has become too large.

    That is more than ``size`` bytes, or than half of the room that there was. ``pause`` is how many
    seconds lie at least between two looks.

    Raises:
        TransientError: it took longer than ``seconds``.
        IntegrityError: it has become too large.

    """
    half = (await asyncio.to_thread(shutil.disk_usage, directory)).free // 2
    loop = asyncio.get_running_loop()
    is_large = False

    async def watch() -> None:
        nonlocal is_large
        wait = pause
        while not is_large:
            await asyncio.sleep(wait)
            before = loop.time()
            is_large = await asyncio.to_thread(_size, directory) > min(size, half)
            wait = max(pause, _SHARE * (loop.time() - before))
        timer.reschedule(loop.time())

    try:
        async with asyncio.timeout(seconds) as timer:
            watching = asyncio.create_task(watch())
            try:
                yield
            finally:
                watching.cancel()
    except TimeoutError as error:
        if not is_large:
            raise TransientError(f"{url}: took longer than {seconds:.0f} s") from error
        least = (
            f"{size} bytes"
            if size < half
            else f"half of the free space at {directory}: {MORE_ROOM}"
        )
        raise IntegrityError(f"{url}: takes more than {least}") from error


def _size(directory: Path) -> int:
    """How many bytes of the disk a directory takes, about: it may change meanwhile."""
    size = 0
    for parent, _, files in os.walk(directory):
        for name in files:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(parent, name)).st_blocks * _BLOCK  # noqa: PTH118
    return size
