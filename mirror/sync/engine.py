"""The engine: obtain the plan's missing paths with bounded concurrency, verify, commit.

A fixed number of workers takes the paths in reference order. Each asks the path's sources
(:mod:`mirror.sync.asking`); what is staged is committed once everything that it refers to is there.
A path whose references are still on their way waits without holding a worker, so a large one delays
nothing but what needs it, until :data:`STAGED_AT_ONCE` of them wait, since each may hold an open
file or memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

from mirror.errors import (
    Attempt,
    IntegrityError,
    PrefetchError,
    first_of,
)
from mirror.sync.asking import Asking, HeldUpError, Item, NobodyHasItError, refers_to
from mirror.sync.report import Expected, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mirror.destinations import Destination
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.sync.asking import Staged
    from mirror.sync.report import Observer

STAGED_AT_ONCE: Final = 256
"""How many verified paths may wait for what they refer to, before no more are obtained."""

COMMITTED_AT_ONCE: Final = 64
"""How many paths are committed together at most: each has files open meanwhile."""

_LARGE_BYTES: Final = 4 << 20
"""A NAR that is larger may take its compression's whole window to decompress: with xz, 8 MiB."""

_LARGE_AT_ONCE: Final = max(4, os.cpu_count() or 1)
"""So many of these keep the processors busy; more would only take memory."""


async def obtain(
    items: Sequence[Item],
    destination: Destination,
    observer: Observer,
    *,
    present: Collection[StorePath],
    incomplete: Mapping[StorePath, Collection[StorePath]] | None = None,
    jobs: int,
    keep_going: bool,
) -> dict[StorePath, Outcome]:
    """Run the engine over items that are in reference order, and show it.

    ``present`` are paths that are there; ``incomplete`` are held, each with what it refers to that
    is not there: they count as there once that is.

    Raises:
        DestinationError: the destination cannot be used.

    """
    if not items:
        return {}
    engine = _Engine(
        items,
        destination,
        observer,
        present=present,
        incomplete=incomplete or {},
        keep_going=keep_going,
    )
    observer.transfer_begins(_expected(items))
    try:
        return dict(await engine.run(jobs))
    except* PrefetchError as group:
        raise first_of(group) from None
    finally:
        observer.transfer_ends()


def _expected(items: Iterable[Item]) -> Expected:
    sizes = {each.wanted.path: each.size for each in items if not each.is_local}
    return Expected(
        sizes=sizes, local=frozenset(each.wanted.path for each in items if each.is_local)
    )


class _Engine:
    """One run over one destination."""

    def __init__(
        self,
        items: Iterable[Item],
        destination: Destination,
        observer: Observer,
        *,
        present: Collection[StorePath],
        incomplete: Mapping[StorePath, Collection[StorePath]],
        keep_going: bool,
    ) -> None:
        """Prepare to obtain ``items``, each of which comes after those that it refers to."""
        self._items = {item.wanted.path: item for item in items}
        self._queue = deque(self._items)
        self._destination = destination
        self._asking = Asking(destination, observer, self._check_references)
        self._observer = observer
        self._keep_going = keep_going
        self._there = set(present)
        self._incomplete = incomplete
        self._staged: dict[StorePath, Staged] = {}
        self._waiting: dict[StorePath, set[StorePath]] = {}
        self._dependents: dict[StorePath, list[StorePath]] = {}
        self._outcomes: dict[StorePath, Outcome] = {}
        self._failed = False
        self._busy = 0
        self._progress = asyncio.Event()
        self._ready: deque[StorePath] = deque()
        self._scheduled: set[StorePath] = set()
        self._has_ready = asyncio.Event()
        self._is_over = False
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def run(self, jobs: int) -> Mapping[StorePath, Outcome]:
        """Obtain everything with ``jobs`` workers; every item has an outcome afterwards.

        Raises:
            DestinationError: the destination cannot be used (in an exception group).

        """
        await self._await_references()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._commit_ready())
                async with asyncio.TaskGroup() as workers:
                    for _ in range(min(jobs, len(self._items))):
                        workers.create_task(self._work())
                self._is_over = True
                self._has_ready.set()
        finally:
            for staged in self._staged.values():
                await staged.stack.aclose()
        for path in (self._items.keys() | self._incomplete.keys()) - self._outcomes.keys():
            self._settle(path, "failed", attempts=self._left(path))
        return self._outcomes

    def _left(self, path: StorePath) -> tuple[Attempt, ...]:
        """Why a path has no outcome although the run is over: another failed before."""
        if (staged := self._staged.get(path)) is None:
            return (_not_tried(),)
        return (*staged.attempts, refers_to(min(self._waiting[path]), "was not tried"))

    async def _await_references(self) -> None:
        """Let what is incomplete wait for what it lacks, or fail where nobody obtains that."""
        for path, lacking in self._incomplete.items():
            self._wait(path, set(lacking))
        for path, lacking in self._incomplete.items():
            for reference in lacking:
                if reference not in self._items and reference not in self._incomplete:
                    await self._lose(path, (refers_to(reference, "is missing"),))
                    break

    async def _work(self) -> None:
        while self._queue and (self._keep_going or not self._failed):
            # Whoever is busy makes progress: what the staged paths wait for came before this one.
            if len(self._staged) >= STAGED_AT_ONCE and (self._busy or self._scheduled):
                self._progress.clear()
                await self._progress.wait()
                continue
            path = self._queue.popleft()
            self._busy += 1
            try:
                item = self._items[path]
                async with self._large if _is_large(item) else contextlib.nullcontext():
                    staged = await self._asking.obtain(item)
            except NobodyHasItError as error:
                await self._fail(path, error.attempts)
            else:
                await self._stage(path, staged)
            finally:
                self._busy -= 1
                self._progress.set()

    def _check_references(self, info: PathInfo) -> None:
        """See that everything the path refers to is, or may still be, at the destination.

        Raises:
            IntegrityError: it refers to something that was not announced.
            HeldUpError: something that it refers to was not obtained.

        """
        for reference in info.references:
            if (
                reference != info.path
                and reference not in self._there
                and reference not in self._items
                and reference not in self._incomplete
            ):
                raise IntegrityError(f"it refers to {reference}, which was not announced")
        failed = self._failed_reference(info)
        if failed is not None:
            raise HeldUpError(failed)

    def _failed_reference(self, info: PathInfo) -> StorePath | None:
        """A path that it refers to and that was not obtained, None while there is no such."""
        settled = (each for each in info.references if each in self._outcomes)
        return next((each for each in settled if each not in self._there), None)

    async def _stage(self, path: StorePath, staged: Staged) -> None:
        """Have the path committed once all that it refers to is, and then what waited for it."""
        missing = {
            reference
            for reference in staged.verified.info.references
            if reference != path
            and reference not in self._there
            and reference not in self._scheduled
        }
        failed = self._failed_reference(staged.verified.info)
        if failed is not None:
            await staged.stack.aclose()
            await self._fail(path, (*staged.attempts, refers_to(failed)))
            return
        self._staged[path] = staged
        self._wait(path, missing)
        if not missing:
            self._schedule(path)

    def _wait(self, path: StorePath, missing: set[StorePath]) -> None:
        self._waiting[path] = missing
        for reference in missing:
            self._dependents.setdefault(reference, []).append(path)

    def _schedule(self, path: StorePath) -> None:
        """Let the path be committed, and after it what only waited for it."""
        ready = deque([path])
        while ready:
            path = ready.popleft()
            self._ready.append(path)
            self._scheduled.add(path)
            for dependent in self._dependents.pop(path, ()):
                self._waiting[dependent].discard(path)
                if not self._waiting[dependent]:
                    ready.append(dependent)
        self._has_ready.set()

    async def _commit_ready(self) -> None:
        """Commit what is ready, as much at a time as came meanwhile, until all is over."""
        while True:
            await self._has_ready.wait()
            if not self._ready:
                if self._is_over:
                    return
                self._has_ready.clear()
                continue
            batch = [self._ready.popleft() for _ in range(min(COMMITTED_AT_ONCE, len(self._ready)))]
            await self._commit(batch)
            self._progress.set()

    async def _commit(self, batch: Sequence[StorePath]) -> None:
        staged = {path: self._staged.pop(path) for path in batch if path in self._staged}
        async with contextlib.AsyncExitStack() as stack:
            for each in staged.values():
                await stack.enter_async_context(each.stack)
            try:
                await self._destination.commit([each.ready for each in staged.values()])
                assert all(each.staging.is_committed for each in staged.values()), "it said so"
            finally:
                for path in batch:
                    self._settle_committed(path, staged.get(path))

    def _settle_committed(self, path: StorePath, staged: Staged | None) -> None:
        """Settle a path that was to be committed, if it is; what was held is there by now."""
        if staged is None:
            self._settle(path, "held")
        elif staged.staging.is_committed:
            self._settle(path, "stored", source=staged.source, attempts=staged.attempts)
        else:
            return
        self._there.add(path)
        self._scheduled.discard(path)

    async def _fail(self, path: StorePath, attempts: tuple[Attempt, ...]) -> None:
        """Settle the path as failed, and with it all that waits for it."""
        self._failed = True
        await self._lose(path, attempts)

    async def _lose(self, path: StorePath, attempts: tuple[Attempt, ...]) -> None:
        if path in self._outcomes:
            return
        self._settle(path, "failed", attempts=attempts)
        lost = deque(self._dependents.pop(path, ()))
        while lost:
            dependent = lost.popleft()
            if dependent in self._outcomes:
                continue
            staged = self._staged.pop(dependent, None)
            before = () if staged is None else staged.attempts
            self._settle(dependent, "failed", attempts=(*before, refers_to(path)))
            lost.extend(self._dependents.pop(dependent, ()))
            if staged is not None:
                await staged.stack.aclose()

    def _settle(
        self,
        path: StorePath,
        result: Literal["stored", "held", "failed"],
        *,
        source: str | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        outcome = Outcome(path=path, result=result, source=source, attempts=attempts)
        self._outcomes[path] = outcome
        if path in self._items:
            self._observer.finished(outcome)


def _is_large(item: Item) -> bool:
    """Whether decompressing it may take much memory, as far as a cache says."""
    return item.offer is not None and item.offer.info.nar_size > _LARGE_BYTES


def _not_tried() -> Attempt:
    return Attempt(
        source="none", error="not tried: another path failed before (--keep-going goes on)"
    )
