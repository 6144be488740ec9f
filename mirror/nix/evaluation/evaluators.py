"""How many processes of Nix evaluate at once, and how much memory each may take.

To evaluate a NixOS takes half a gigabyte, or several. Where there is not enough for all, the kernel
ends one of them, or Nix gives up: that one is tried again alone, when the others have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.errors import EvaluationError
from mirror.system.available import available_memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from mirror.nix.command import Completed, Nix

_USUAL: Final = 1 << 30
"""What an evaluator is expected to take, in bytes, unless a bound is given."""
_KILOBYTE: Final = 1024
_ENDED_BY: Final = frozenset(
    code for number in (signal.SIGKILL, signal.SIGABRT) for code in (-number, 128 + number)
)
"""How the kernel ends a process for want of memory, and how C++ ends one that gets none."""
_OUT_OF_MEMORY: Final = ("out of memory", "std::bad_alloc", "Cannot allocate memory")
_LIMITED: Final = ("/bin/sh", "-c", 'ulimit -d "$0" && exec "$@"')


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorBounds:
    """What the user wants of evaluators.

    ``at_once`` is how many run at once; None: as many as there are processors, and memory for.
    ``memory`` is how many bytes of data each may have, unless it runs alone; None is no bound.
    """

    at_once: int | None = None
    memory: int | None = None

    def limit(self) -> int:
        """How many may run at once now."""
        if self.at_once is not None:
            return self.at_once
        processors = len(os.sched_getaffinity(0))
        available = available_memory()
        room = processors if available is None else available // (self.memory or _USUAL)
        return max(1, min(processors, room))


def _nobody(name: str) -> None: ...


class Evaluators:
    """At most ``limit`` at once; ``begun`` is told of each as its turn comes.

    ``memory`` is how many bytes of data each may have, unless it runs alone.
    """

    def __init__(
        self,
        limit: int = 1,
        *,
        memory: int | None = None,
        begun: Callable[[str], None] = _nobody,
    ) -> None:
        self._limit = limit
        self._memory = memory
        self._begun = begun
        self._turns = asyncio.Semaphore(limit)
        self._clearing = asyncio.Lock()

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
            EvaluationError: it ran out of memory twice, also alone.
            ToolError: Nix cannot be used.

        """
        async with self.turn(name):
            completed = await self._limited(nix).run(command, environment=environment)
        if not _ran_out_of_memory(completed):
            return completed
        async with self._alone():
            completed = await nix.run(command, environment=environment)
        if _ran_out_of_memory(completed):
            raise EvaluationError(
                f"{name}: there is not enough memory to evaluate it, also with no other evaluator "
                f"beside it:\n{completed.last_words}",
                hint="end some programs, or add memory or swap",
            )
        return completed

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait until another may run."""
        async with self._turns:
            self._begun(name)
            yield

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Wait until no other runs, and have none begin."""
        async with contextlib.AsyncExitStack() as stack:
            # Two that each wait for the other's turns would wait forever.
            await stack.enter_async_context(self._clearing)
            for _ in range(self._limit):
                await stack.enter_async_context(self._turns)
            yield

    def _limited(self, nix: Nix) -> Nix:
        if self._memory is None:
            return nix
        return replace(nix, prefix=(*_LIMITED, str(self._memory // _KILOBYTE), *nix.prefix))


def _ran_out_of_memory(completed: Completed) -> bool:
    if completed.returncode in _ENDED_BY:
        return True
    return completed.returncode != 0 and any(
        words in completed.last_words for words in _OUT_OF_MEMORY
    )
