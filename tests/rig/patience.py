"""HTTP clients for tests, of much patience and of little; their pauses take no time."""

from __future__ import annotations

import asyncio
from typing import Final

from mirror.sources.http.settings import HttpSettings

PATIENT: Final = HttpSettings(connect_seconds=60, answer_seconds=60, speed_seconds=60)
"""For all that is not about time: it never gives up since the machine is busy."""

QUICK: Final = HttpSettings(connect_seconds=2, speed_seconds=1, least_bytes_per_second=100_000)
"""For servers that let a client wait: what comes of it is expected, however late it comes."""


class Pauses:
    """A sleep that does not wait, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)
