"""A server's presence in its directory: the lock that tells a prune of possible clients.

The lock is on a file, and that may go away: an external disk is unmounted, or another directory is
put in the place of this one. What is there when it is back says nothing of this server, so the lock
is taken again on what is there now, and until that is done nothing is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mirror.destinations.cache.layout import SERVING
from mirror.destinations.cache.served import note_served
from mirror.system.locks import take_lock
from mirror.system.plain_files import open_to_read
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path
    from typing import Any

_PAUSE_SECONDS: Final = 1.0
_NOTED_PAUSES: Final = 600
"""So many pauses later it is noted again that a server is there: pruning asks for the day."""


class Presence:
    """A server that serves ``directory``; :meth:`in_directory` makes one.

    It may be that the directory has yet to be made, or is being pruned at this moment. Nobody was
    led anywhere yet, so nobody has to wait for the lock.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = str(directory / SERVING)
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def in_directory(
        cls, directory: Path, meanwhile: Callable[[], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[Presence]:
        """Be present for as long as the context lasts.

        ``meanwhile`` is called again and again, with a pause in between.
        """
        presence = cls(directory)
        presence.absence()
        await in_thread(presence._note)
        watching = asyncio.create_task(presence._watch(meanwhile))
        try:
            yield presence
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await in_thread(presence._note)
            presence._release()

    def absence(self) -> str | None:
        """Why nothing can be answered now, None if all can; the lock is taken if it can be had."""
        if self._is_locked() or self._take() or self._identity is None:
            return None
        return f"{self._directory} is gone, or cannot be locked ({SERVING})"

    async def _watch(self, meanwhile: Callable[[], Coroutine[Any, Any, None]]) -> None:
        pauses = 0
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            before = self._identity
            is_away = self.absence() is not None
            pauses += 1
            if not is_away and (self._identity != before or pauses % _NOTED_PAUSES == 0):
                await in_thread(self._note)
            await meanwhile()

    def _is_locked(self) -> bool:
        """Whether the lock that is held is that of the directory that is there now."""
        try:
            status = os.stat(self._lock)  # noqa: PTH116 - at each request
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def _take(self) -> bool:
        """Take a shared lock, and keep its file open, if both can be done now."""
        try:
            descriptor = open_to_read(self._lock)
        except OSError:
            return False
        try:
            is_taken = take_lock(descriptor, is_shared=True)
            status = os.fstat(descriptor)
        except OSError:
            is_taken = False
        if not is_taken:
            os.close(descriptor)
            return False
        self._release()
        self._descriptor = descriptor
        self._identity = (status.st_dev, status.st_ino)
        return True

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _note(self) -> None:
        """Note that a server is here, where it may write: pruning finds out by the lock, too."""
        if self._descriptor is not None and self._is_locked():
            with contextlib.suppress(OSError):
                note_served(self._directory, datetime.now(UTC))
