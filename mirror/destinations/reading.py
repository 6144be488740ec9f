"""Reading many files with one thread a core, each of which can be interrupted.

Reading, decompressing and hashing release Python's interpreter lock, so threads are enough.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from mirror.errors import PrefetchError, first_of
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_AT_ONCE: Final = 16 << 20
"""How many bytes a thread reads before it tells of it, and can be stopped."""


class Progress(Protocol):
    """Receives the progress of reading."""

    def begin(self, total: int) -> None:
        """Reading begins; the number of bytes is an estimate."""
        ...

    def read(self, amount: int) -> None:
        """So many bytes were read."""
        ...

    def end(self) -> None:
        """Everything was read."""
        ...


class Checkable(Protocol):
    """Something at rest."""

    def check(self) -> Iterator[int]:
        """Read it; gives how many bytes were read, each time that some were."""
        ...


_Check = TypeVar("_Check", bound=Checkable)


async def check_all(
    checks: Iterable[_Check],
    take: Callable[[_Check], None],
    progress: Progress,
    *,
    jobs: int,
) -> int:
    """Check all of them with ``jobs`` threads; how many bytes were read.

    Each is handed to ``take`` when it is done, on the event loop.

    Raises:
        DestinationError: something may not be read.

    """
    queue = deque(checks)
    total = 0

    async def work(reader: _Reader[_Check]) -> None:
        nonlocal total
        while (amount := await in_thread(reader.read_some)) is not None:
            for each in reader.taken():
                take(each)
            total += amount
            progress.read(amount)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(work(_Reader(queue)))
    except* PrefetchError as errors:
        raise first_of(errors) from None
    return total


class _Reader(Generic[_Check]):
    """One thread's work: what it takes from ``queue`` it reads to the end."""

    def __init__(self, queue: deque[_Check]) -> None:
        self._queue = queue
        self._current: _Check | None = None
        self._steps: Iterator[int] = iter(())
        self._done: list[_Check] = []

    def read_some(self) -> int | None:
        """Read up to :data:`_AT_ONCE` bytes, or a little more; None if nothing is left."""
        amount = 0
        while amount < _AT_ONCE:
            step = next(self._steps, None)
            if step is not None:
                amount += step
                continue
            if self._current is not None:
                self._done.append(self._current)
                self._current = None
            try:
                self._current = self._queue.popleft()
            except IndexError:
                return amount if amount or self._done else None
            self._steps = self._current.check()
        return amount

    def taken(self) -> list[_Check]:
        """What is done, each once."""
        done, self._done = self._done, []
        return done
