"""The engine: obtain the plan's missing paths with bounded concurrency, verify, commit.

A fixed number of workers takes the paths in reference order. Each asks the path's sources one
after the other until one gives a NAR that the verifier accepts; what is staged is committed once
everything that it refers to is there. A path whose references are still on their way waits
without holding a worker, so a large one delays nothing but what needs it, until
:data:`STAGED_AT_ONCE` of them wait, since each may hold an open file or memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter, deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from mirror.errors import (
    Attempt,
    FullError,
    IntegrityError,
    NotAvailableError,
    PrefetchError,
    SourceError,
    TransientError,
    first_of,
)
from mirror.formats.verifier import NarVerifier
from mirror.masking import without_secrets
from mirror.sources.server_errors import ChangedError
from mirror.sync.report import Outcome
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mirror.destinations import Destination, Staging
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.formats.verifier import Claim, VerifiedPath
    from mirror.planning.availability import Offer
    from mirror.sources import Nar, Source, Wanted
    from mirror.sync.report import Observer

STAGED_AT_ONCE: Final = 256
"""How many verified paths may wait for what they refer to, before no more are obtained."""

_SILENCES: Final = 3
"""How many times running one server may fail before it is left alone for the rest of the run."""

_LARGE_BYTES: Final = 4 << 20
"""A NAR that is larger may take its compression's whole window to decompress: with xz, 8 MiB."""

_LARGE_AT_ONCE: Final = max(4, os.cpu_count() or 1)
"""So many of these keep the processors busy; more would only take memory."""

_INLINE_BYTES: Final = 32 * 1024
"""Chunks up to this size are handled on the event loop: a thread would cost more than the work."""

_INLINE_NAR_BYTES: Final = 1 << 20
"""If they are of a NAR up to this size: a small chunk may be the compression of much."""


_HARMLESS_BYTES: Final = 64 << 20
"""Up to this size nobody looks for the room that a NAR takes, although nobody vouches for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A path to obtain, and its sources in the order in which they are to be tried.

    ``offer`` is what the plan knows of it, where a cache has it.
    """

    wanted: Wanted
    sources: Sequence[Source]
    offer: Offer | None = None

    @property
    def is_large(self) -> bool:
        """Whether much memory may be needed to decompress it, as far as a cache says."""
        return self.offer is not None and self.offer.info.nar_size > _LARGE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class _Staged:
    """A verified path that waits for what it refers to; closing the stack drops it."""

    staging: Staging
    verified: VerifiedPath
    source: str
    attempts: tuple[Attempt, ...]
    stack: AsyncExitStack


async def obtain(
    items: Sequence[Item],
    destination: Destination,
    observer: Observer,
    *,
    present: Collection[StorePath],
    incomplete: Mapping[StorePath, Collection[StorePath]] | None = None,
    download_bytes: int,
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
    observer.transfer_begins(len(items), download_bytes)
    try:
        return dict(await engine.run(jobs))
    except* PrefetchError as group:
        raise first_of(group) from None
    finally:
        observer.transfer_ends()


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
        self._observer = observer
        self._keep_going = keep_going
        self._there = set(present)
        self._incomplete = incomplete
        self._staged: dict[StorePath, _Staged] = {}
        self._waiting: dict[StorePath, set[StorePath]] = {}
        self._dependents: dict[StorePath, list[StorePath]] = {}
        self._distrusted: dict[str, str] = {}
        self._silences: Counter[str] = Counter()
        self._outcomes: dict[StorePath, Outcome] = {}
        self._failed = False
        self._busy = 0
        self._progress = asyncio.Event()
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def run(self, jobs: int) -> Mapping[StorePath, Outcome]:
        """Obtain everything with ``jobs`` workers; every item has an outcome afterwards.

        Raises:
            DestinationError: the destination cannot be used (in an exception group).

        """
        await self._await_references()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(jobs, len(self._items))):
                    group.create_task(self._work())
        finally:
            for staged in self._staged.values():
                await staged.stack.aclose()
        for path in (self._items.keys() | self._incomplete.keys()) - self._outcomes.keys():
            self._settle(path, "failed", attempts=(_not_tried(),))
        return self._outcomes

    async def _await_references(self) -> None:
        """Let what is incomplete wait for what it lacks, or fail where nobody obtains that."""
        for path, lacking in self._incomplete.items():
            self._wait(path, set(lacking))
        for path, lacking in self._incomplete.items():
            for reference in lacking:
                if reference not in self._items and reference not in self._incomplete:
                    await self._lose(path, (_refers_to(reference, "is missing"),))
                    break

    async def _work(self) -> None:
        while self._queue and (self._keep_going or not self._failed):
            # Whoever is busy makes progress: what the staged paths wait for came before this one.
            if len(self._staged) >= STAGED_AT_ONCE and self._busy:
                self._progress.clear()
                await self._progress.wait()
                continue
            path = self._queue.popleft()
            self._busy += 1
            try:
                item = self._items[path]
                async with self._large if item.is_large else contextlib.nullcontext():
                    staged = await self._obtain(item)
                if staged is not None:
                    await self._stage(path, staged)
            finally:
                self._busy -= 1
                self._progress.set()

    async def _obtain(self, item: Item) -> _Staged | None:
        """Ask the item's sources in turn; None if none of them has it.

        A source whose file changed while it came is asked once more: it may be whole now. One that
        says, without a signature, that it sends much is put off until the others were asked.
        """
        attempts: list[Attempt] = []
        pending, changed, put_off = deque(item.sources), set[str](), set[str]()
        while pending:
            source = pending.popleft()
            if reason := self._distrusted.get(source.name) or self._given_up(source):
                # Whether it has a source, nobody said; of all else, a plan knows who does.
                is_refusal = source.name in self._distrusted and item.wanted.fixed_output is None
                attempts.append(Attempt(source=source.name, error=reason, is_refusal=is_refusal))
                continue
            self._observer.started(item.wanted.path, source.name)
            is_last = not pending or source.name in put_off
            try:
                staged = await self._take(item, source, is_last=is_last)
            except _PutOffError:
                put_off.add(source.name)
                pending.append(source)
            except _HeldUpError as error:
                attempts.append(_refers_to(error.path))
                break
            except SourceError as error:
                attempts.extend(_attempts(source, error))
                if isinstance(error, ChangedError) and source.name not in changed:
                    changed.add(source.name)
                    pending.appendleft(source)
                elif isinstance(error, TransientError):
                    self._silences[source.name] += 1
            else:
                self._silences[source.name] = 0
                return replace(staged, attempts=(*attempts, *staged.attempts))
        await self._fail(item.wanted.path, tuple(attempts))
        return None

    async def _take(self, item: Item, source: Source, *, is_last: bool) -> _Staged:
        """Obtain the item from a source, which is told of what is wrong with what it gives.

        Raises:
            SourceError: it does not give it.
            _PutOffError: it may be asked last.
            _HeldUpError: what it refers to was not obtained.

        """
        async with AsyncExitStack() as stack:
            nar = await stack.enter_async_context(source.open(item.wanted))
            self._check_references(nar.claim.info)
            failed = self._failed_reference(nar.claim.info)
            if failed is not None:
                raise _HeldUpError(failed)
            # The staged NAR outlives the source's context: a stack of its own.
            kept = await stack.enter_async_context(AsyncExitStack())
            try:
                await self._see_room(nar.claim, is_last=is_last)
                staging = await kept.enter_async_context(self._destination.stage(nar.claim))
                verified = await self._transfer(nar, staging, source)
            except FullError as error:
                if nar.claim.is_signed:
                    raise
                raise IntegrityError(_too_large(nar.claim, error)) from error
            return _Staged(
                staging=staging,
                verified=verified,
                source=without_secrets(nar.location),
                attempts=nar.attempts,
                stack=kept.pop_all(),
            )

    async def _see_room(self, claim: Claim, *, is_last: bool) -> None:
        """Look whether there is room for what a source claims, if nobody who is trusted does.

        Raises:
            FullError: there is not.
            _PutOffError: it would take more than half of the room, and others may have less.

        """
        size = claim.info.nar_size
        if claim.is_signed or size <= _HARMLESS_BYTES:
            return
        room = (await self._destination.room()).bytes
        if size > room:
            raise FullError(f"{room} bytes are free")
        if size > room // 2 and not is_last:
            raise _PutOffError

    def _given_up(self, source: Source) -> str | None:
        """Why a source is not asked any more: each time that it fails takes its time."""
        if source.is_one_party and self._silences[source.name] >= _SILENCES:
            return f"not asked: it failed {_SILENCES} times running"
        return None

    async def _transfer(self, nar: Nar, staging: Staging, source: Source) -> VerifiedPath:
        """Read the NAR to its end, checking and writing it as it comes."""
        verifier = NarVerifier(nar.claim)
        is_small = nar.claim.info.nar_size <= _INLINE_NAR_BYTES

        def take(chunk: bytes) -> None:
            if staging.keeps == "nar":
                for piece in verifier.feed(chunk):
                    staging.write(piece)
            else:
                for _ in verifier.feed(chunk):
                    pass
                staging.write(chunk)

        try:
            async for chunk in nar.chunks:
                if is_small and len(chunk) <= _INLINE_BYTES:
                    take(chunk)
                else:
                    await in_thread(take, chunk)
                self._observer.received(len(chunk))
            return verifier.finish()
        except IntegrityError as error:
            if source.is_one_party:
                self._distrusted[source.name] = (
                    f"not asked: it gave something else for {nar.claim.info.path.name} before"
                )
            raise IntegrityError(f"{nar.location}: {error}", hint=error.hint) from error

    def _check_references(self, info: PathInfo) -> None:
        """See that everything the path refers to is, or will be, at the destination."""
        for reference in info.references:
            if (
                reference != info.path
                and reference not in self._there
                and reference not in self._items
                and reference not in self._incomplete
            ):
                raise IntegrityError(f"it refers to {reference}, which was not announced")

    def _failed_reference(self, info: PathInfo) -> StorePath | None:
        """A path that it refers to and that was not obtained, None while there is no such."""
        settled = (each for each in info.references if each in self._outcomes)
        return next((each for each in settled if each not in self._there), None)

    async def _stage(self, path: StorePath, staged: _Staged) -> None:
        """Commit the path once all that it refers to is there, and then what waited for it."""
        missing = {
            reference
            for reference in staged.verified.info.references
            if reference != path and reference not in self._there
        }
        failed = self._failed_reference(staged.verified.info)
        if failed is not None:
            await staged.stack.aclose()
            await self._fail(path, (*staged.attempts, _refers_to(failed)))
            return
        self._staged[path] = staged
        self._wait(path, missing)
        if not missing:
            await self._commit(path)

    def _wait(self, path: StorePath, missing: set[StorePath]) -> None:
        self._waiting[path] = missing
        for reference in missing:
            self._dependents.setdefault(reference, []).append(path)

    async def _commit(self, path: StorePath) -> None:
        ready = deque([path])
        while ready:
            path = ready.popleft()
            if (staged := self._staged.pop(path, None)) is None:
                self._settle(path, "held")
            else:
                async with staged.stack:
                    await staged.staging.commit(staged.verified)
                self._settle(path, "stored", source=staged.source, attempts=staged.attempts)
            self._there.add(path)
            for dependent in self._dependents.pop(path, ()):
                self._waiting[dependent].discard(path)
                if not self._waiting[dependent]:
                    ready.append(dependent)

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
            self._settle(dependent, "failed", attempts=(*before, _refers_to(path)))
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


class _PutOffError(Exception):
    """A source is to be asked after the others."""


class _HeldUpError(Exception):
    """``path``, to which another refers, was not obtained."""

    def __init__(self, path: StorePath) -> None:
        super().__init__(path)
        self.path = path


def _too_large(claim: Claim, error: FullError) -> str:
    return (
        f"it says that {claim.info.path.name} has {claim.info.nar_size} bytes, which nobody signed "
        f"and there is no room for: {error.message}"
    )


def _attempts(source: Source, error: SourceError) -> Iterable[Attempt]:
    """What the report says of a source's failure: each place that it tried, else itself."""
    if error.attempts:
        return error.attempts
    return [
        Attempt(
            source=source.name,
            error=error.message,
            is_absence=isinstance(error, NotAvailableError),
            is_refusal=isinstance(error, IntegrityError),
        )
    ]


def _refers_to(path: StorePath, what: str = "failed") -> Attempt:
    return Attempt(source="destination", error=f"not stored: it refers to {path}, which {what}")


def _not_tried() -> Attempt:
    return Attempt(
        source="none", error="not tried: another path failed before (--keep-going goes on)"
    )
