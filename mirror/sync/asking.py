"""Asking a path's sources, one after the other, until one gives a NAR that the verifier accepts.

What a source gives is verified and staged as it comes, and committed by whoever asked for it. One
that gives something wrong is not asked again in this run, nor one that fails many times running.
"""

from __future__ import annotations

from collections import Counter, deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.destinations import Ready
from mirror.errors import (
    Attempt,
    FullError,
    IntegrityError,
    NotAvailableError,
    SourceError,
    TransientError,
)
from mirror.formats.verifier import NarVerifier
from mirror.masking import without_secrets
from mirror.sources.server_errors import ChangedError
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mirror.destinations import Destination, Staging
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.formats.verifier import Claim, VerifiedPath
    from mirror.planning.availability import Offer
    from mirror.sources import Nar, Source, Wanted
    from mirror.sync.report import Observer

_SILENCES: Final = 3
"""How many times running one server may fail before it is left alone for the rest of the run."""

_INLINE_BYTES: Final = 32 * 1024
"""Chunks up to this size are handled on the event loop: a thread would cost more than the work."""

_INLINE_NAR_BYTES: Final = 1 << 20
"""If they are of a NAR up to this size: a small chunk may be the compression of much."""

_HARMLESS_BYTES: Final = 64 << 20
"""Up to this size nobody looks for the room that a NAR takes, although nobody vouches for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A path to obtain, and its sources in the order in which they are to be tried.

    ``offer`` is what the plan knows of it, where a cache has it. ``size`` is how many bytes come,
    as far as that is known; ``is_local``: they do not come from a network.
    """

    wanted: Wanted
    sources: Sequence[Source]
    offer: Offer | None = None
    size: int | None = None
    is_local: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A verified path that is not committed yet; closing the stack drops it."""

    staging: Staging
    verified: VerifiedPath
    source: str
    attempts: tuple[Attempt, ...]
    stack: AsyncExitStack

    @property
    def ready(self) -> Ready:
        """What the destination commits."""
        return Ready(self.staging, self.verified)


class NobodyHasItError(Exception):
    """No source gave the path; ``attempts`` say why, in the order in which they were asked."""

    def __init__(self, attempts: tuple[Attempt, ...]) -> None:
        super().__init__(attempts)
        self.attempts = attempts


class HeldUpError(Exception):
    """``path``, to which another refers, was not obtained."""

    def __init__(self, path: StorePath) -> None:
        super().__init__(path)
        self.path = path


class Asking:
    """The sources of one run over one destination, and what is known of them by now.

    ``check_references`` is told what a source claims of a path before its NAR is taken. It raises
    an :class:`IntegrityError` if the source is wrong, and :class:`HeldUpError` if the path cannot
    be stored whoever has it.
    """

    def __init__(
        self,
        destination: Destination,
        observer: Observer,
        check_references: Callable[[PathInfo], None],
    ) -> None:
        self._destination = destination
        self._observer = observer
        self._check_references = check_references
        self._distrusted: dict[str, str] = {}
        self._silences: Counter[str] = Counter()

    async def obtain(self, item: Item) -> Staged:
        """Ask the item's sources in turn.

        A source whose file changed while it came is asked once more: it may be whole now. One that
        says, without a signature, that it sends much is put off until the others were asked.

        Raises:
            NobodyHasItError: none of them gives it, or it cannot be stored.
            DestinationError: the destination cannot be written.

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
            except HeldUpError as error:
                attempts.append(refers_to(error.path))
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
        raise NobodyHasItError(tuple(attempts))

    async def _take(self, item: Item, source: Source, *, is_last: bool) -> Staged:
        """Obtain the item from a source, which is told of what is wrong with what it gives.

        Raises:
            SourceError: it does not give it.
            _PutOffError: it may be asked last.
            HeldUpError: what it refers to was not obtained.

        """
        async with AsyncExitStack() as stack:
            nar = await stack.enter_async_context(source.open(item.wanted))
            self._check_references(nar.claim.info)
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
            return Staged(
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
        if room is None:
            return
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
                self._observer.received(nar.claim.info.path, len(chunk))
            return verifier.finish()
        except IntegrityError as error:
            if source.is_one_party:
                self._distrusted[source.name] = (
                    f"not asked: it gave something else for {nar.claim.info.path.name} before"
                )
            raise IntegrityError(f"{nar.location}: {error}", hint=error.hint) from error


class _PutOffError(Exception):
    """A source is to be asked after the others."""


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


def refers_to(path: StorePath, what: str = "failed") -> Attempt:
    """Say of a path that it is not stored because of ``path``, to which it refers."""
    return Attempt(source="destination", error=f"not stored: it refers to {path}, which {what}")
