"""An HTTP client for tests: it gives up soon, and its pauses take no time."""

from __future__ import annotations

import asyncio
from typing import Final

from mirror.sources.http import HttpSettings

QUICK: Final = HttpSettings(
    connect_seconds=2, silence_seconds=0.3, speed_seconds=0.3, least_bytes_per_second=100_000
)


class Pauses:
    """A sleep that does not wait, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)
