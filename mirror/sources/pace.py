"""How fast bytes may come: one limit for all that a run downloads."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_BURST_SECONDS: Final = 0.25
_SHARE: Final = 100
"""Of the rate, one download may have less than this part while others have the rest."""


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

    def least(self, bytes_per_second: float) -> float:
        """The speed below which one download of many is slow, where so much is without a limit."""
        return (
            bytes_per_second if self._rate is None else min(bytes_per_second, self._rate / _SHARE)
        )

    async def take(self, size: int) -> None:
        """Wait until ``size`` more bytes, which have been read, fit the rate."""
        if self._rate is None:
            return
        now = self._clock()
        self._paid_until = max(self._paid_until, now) + size / self._rate
        ahead = self._paid_until - now - _BURST_SECONDS
        if ahead > 0:
            await self._sleep(ahead)
