"""How fast bytes may come, and how slowly: a rate limit, and a minimum speed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_BURST_SECONDS: Final = 0.25


class RateLimiter:
    """A token bucket that all downloads of a run share.

    ``bytes_per_second`` is the rate over any longer time; None is no limit.
    """

    def __init__(
        self,
        bytes_per_second: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._paid_until = clock()

    async def take(self, size: int) -> None:
        """Wait until ``size`` more bytes, which have been read, fit the rate."""
        if self._rate is None:
            return
        now = self._clock()
        self._paid_until = max(self._paid_until, now) + size / self._rate
        ahead = self._paid_until - now - _BURST_SECONDS
        if ahead > 0:
            await self._sleep(ahead)


class MinimumSpeed:
    """Notices a download that is alive but too slow to wait for.

    Only time spent waiting for the network counts, so that neither a rate limit nor a slow disk
    makes a server look slow.
    """

    def __init__(self, bytes_per_second: float, seconds: float) -> None:
        self._least = bytes_per_second * seconds
        self._seconds = seconds
        self._waited = 0.0
        self._received = 0

    def is_too_slow(self, received: int, waited: float) -> bool:
        """Count ``received`` bytes that took ``waited`` seconds, and judge each full period."""
        self._received += received
        self._waited += waited
        if self._waited < self._seconds:
            return False
        slow = self._received < self._least
        self._received, self._waited = 0, 0.0
        return slow
