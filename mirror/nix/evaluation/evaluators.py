"""How many processes of Nix evaluate at once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from mirror.nix.command import Completed, Nix


def _nobody(name: str) -> None: ...


class Evaluators:
    """At most ``limit`` at once; ``begun`` is told of each as its turn comes."""

    def __init__(self, limit: int = 1, *, begun: Callable[[str], None] = _nobody) -> None:
        self._turns = asyncio.Semaphore(limit)
        self._begun = begun

    async def run(
        self,
        nix: Nix,
        command: Sequence[str],
        *,
        name: str,
        environment: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run one, which evaluates what is called ``name``, to its end.

        Raises:
            ToolError: Nix cannot be used.

        """
        async with self.turn(name):
            return await nix.run(command, environment=environment)

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait until another may run."""
        async with self._turns:
            self._begun(name)
            yield
