"""Which of what is kept is given to clients, as the generations say.

A cache directory's files say so, too, by their modes; where these say nothing (a stick with FAT, a
copy without modes) the generations alone do. Of a Nix store they are all that is given.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from mirror.destinations.records.privacy import holdings, private_paths
from mirror.serve.library.leases import LEASE_SECONDS
from mirror.serve.library.watching import state_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.destinations import Destination
    from mirror.errors import DestinationError

_LOOK_SECONDS = 1.0


class Given:
    """What a destination's generations allow to be served.

    ``is_eager``: look each time, else at most once a second.
    """

    def __init__(self, destination: Destination, *, is_eager: bool) -> None:
        self._destination = destination
        self._pause = 0.0 if is_eager else _LOOK_SECONDS
        self._looked = -_LOOK_SECONDS
        self._states: Sequence[int] | None = None
        self._private: frozenset[str] = frozenset()
        self._kept: frozenset[str] = frozenset()
        self._earlier: list[tuple[float, frozenset[str]]] = []
        self._looking = asyncio.Lock()

    async def is_private(self, hash_part: str) -> bool:
        """Whether the path is kept as a private one."""
        await self._look(self._pause)
        if hash_part in self._private:
            # Clients remember for an hour that they were refused something.
            await self._look(0.0)
        return hash_part in self._private

    async def is_given(self, hash_part: str) -> bool:
        """Whether a generation has the path for clients, or had it until recently."""
        await self._look(self._pause)
        if hash_part in self._private:
            return False
        now = time.monotonic()
        return hash_part in self._kept or any(
            hash_part in paths for until, paths in self._earlier if now < until
        )

    async def _look(self, pause: float) -> None:
        """Look unless that was done less than ``pause`` seconds ago."""
        asked = time.monotonic()
        if asked - self._looked < pause:
            return
        async with self._looking:
            # Many requests come at once: one of them looks for all that came before it did.
            if self._looked >= asked:
                return
            now = time.monotonic()
            # On the event loop: a thread would cost more than to look at a few directories.
            states = [state_of(each) for each in self._destination.watched()]
            if states != self._states:
                await self._read(now)
                self._states = states
            self._looked = now

    async def _read(self, now: float) -> None:
        unreadable: list[DestinationError] = []  # the status page has them
        generations = await self._destination.generations(unreadable.append)
        kept = frozenset(path.hash_part for each in generations for path in each.paths)
        if self._kept - kept:
            self._earlier = [each for each in self._earlier if now < each[0]]
            self._earlier.append((now + LEASE_SECONDS, self._kept - kept))
        self._kept = kept
        private = frozenset(path.hash_part for path in private_paths(holdings(generations)))
        # What was private is not given while it is on its way out, either.
        self._private = private | (self._private - kept)
