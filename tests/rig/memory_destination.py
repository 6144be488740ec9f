"""A destination in memory: a third kind, which shows that the interface asks for no more.

It is as object storage would be: paths are kept as they arrive, nothing of it is a file, no Nix
reads it by itself, and nobody signs in it.
"""

# ruff: noqa: ARG002 - much of what it is asked does not concern it

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from mirror.destinations import Room
from mirror.destinations.capabilities import KeptNar, Swept
from mirror.destinations.verified import Damage, Mended, Verified
from mirror.errors import (
    DestinationError,
    FormatError,
    IntegrityError,
    LockedError,
    NotAvailableError,
)
from mirror.formats.nar_content import file_content
from mirror.formats.verifier import Claim, NarVerifier
from mirror.planning.presence import Found, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from mirror.destinations import Generation, Ready, Receipt, RunRecord
    from mirror.destinations.kind import Opening
    from mirror.destinations.reading import Progress
    from mirror.destinations.records.documents import Told
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import PublicKey, TrustedKeys
    from mirror.formats.store_path import StorePath
    from mirror.formats.verifier import VerifiedPath


@dataclass(frozen=True)
class Entry:
    """A path as it is kept: what is claimed of it, and its NAR as it arrived."""

    claim: Claim
    nar: bytes


@dataclass
class Memory:
    """What is kept under one name, from one opening to the next."""

    name: str
    entries: dict[StorePath, Entry] = field(default_factory=dict)
    kept: dict[tuple[str, int], Generation] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    runs: dict[str, RunRecord] = field(default_factory=dict)
    holder: str | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        if self.holder is not None:
            raise LockedError(f"{self.name} is in use by another run ({self.holder})")
        now = datetime.now(UTC)
        self.holder = f"process {os.getpid()} on {socket.gethostname()} since {now}"
        try:
            yield
        finally:
            self.holder = None


class Memories:
    """The kind: ``memory:NAME``."""

    forms = "memory:NAME"

    def __init__(self) -> None:
        self.named: dict[str, Memory] = {}

    def is_meant(self, to: str | None) -> bool:
        return to is not None and to.startswith("memory:")

    @contextlib.asynccontextmanager
    async def open(self, to: str | None, opening: Opening) -> AsyncIterator[MemoryDestination]:
        assert to is not None
        if opening.must_exist and to not in self.named:
            raise DestinationError(f"there is no {to}")
        memory = self.named.setdefault(to, Memory(to))
        with memory.locked() if opening.exclusive else contextlib.nullcontext():
            yield MemoryDestination(memory, to_mend=opening.to_mend)


class MemoryDestination:
    """What is open of a :class:`Memory`."""

    keeps: Literal["compressed", "nar"] = "compressed"
    is_for_others = True
    store = None
    directory = None
    signing = None

    def __init__(self, memory: Memory, *, to_mend: bool) -> None:
        self._memory = memory
        self._to_mend = to_mend

    @property
    def name(self) -> str:
        return self._memory.name

    def as_substituter(self) -> contextlib.nullcontext[None]:
        return contextlib.nullcontext(None)

    @property
    def sweeping(self) -> MemorySweeping:
        return MemorySweeping(self._memory)

    def watched(self) -> tuple[Path, ...]:
        return ()

    async def signers(self) -> tuple[PublicKey, ...]:
        return ()

    async def sign(self, paths: Collection[StorePath]) -> bool:
        return False

    async def room(self) -> Room:
        return Room(place=self.name)

    async def protect(self, paths: Collection[StorePath]) -> bool:
        return False

    async def held(self, paths: Collection[StorePath]) -> Mapping[StorePath, PathInfo]:
        return whole(await self.look_up(paths))

    async def look_up(self, paths: Collection[StorePath]) -> Mapping[StorePath, Found]:
        entries = self._memory.entries
        return {path: Found(info=entries[path].claim.info) for path in paths if path in entries}

    async def sizes(self, paths: Collection[StorePath]) -> Mapping[StorePath, Mapping[str, int]]:
        entries = self._memory.entries
        return {path: {path: len(entries[path].nar)} for path in paths if path in entries}

    def look_as(self, *, trusted_keys: Iterable[str], is_old_nix: bool) -> None: ...

    @contextlib.asynccontextmanager
    async def read(self, path: StorePath) -> AsyncIterator[KeptNar]:
        entry = self._memory.entries.get(path)
        if entry is None:
            raise NotAvailableError(f"{path} is not in {self.name}")
        yield KeptNar(claim=entry.claim, chunks=_chunks(entry.nar), location=self.name)

    async def read_files(self, paths: Collection[StorePath]) -> Mapping[StorePath, bytes]:
        found = {}
        for path in paths:
            if (entry := self._memory.entries.get(path)) is not None:
                with contextlib.suppress(FormatError):
                    found[path] = file_content(entry.nar, entry.claim.compression)
        return found

    async def verify(self, progress: Progress, *, jobs: int) -> Verified:
        memory = self._memory
        progress.begin(sum(len(each.nar) for each in memory.entries.values()))
        damages = []
        for path, entry in memory.entries.items():
            try:
                verifier = NarVerifier(entry.claim)
                for _ in verifier.feed(entry.nar):
                    pass
                verifier.finish()
            except IntegrityError as error:
                damages.append(Damage(file=str(path), problem=error.message, path=path))
            progress.read(len(entry.nar))
        progress.end()
        kept = {path for each in memory.kept.values() for path in each.paths}
        damages += [
            Damage(file=str(path), problem="it is missing", path=path)
            for path in kept - memory.entries.keys()
        ]
        return Verified(
            paths=len(memory.entries),
            files=len(memory.entries),
            bytes=sum(len(each.nar) for each in memory.entries.values()),
            damages=tuple(damages),
            sound=frozenset(memory.entries.keys() - {each.path for each in damages}),
        )

    async def begin_repair(self, verified: Verified) -> MemoryRepair:
        return MemoryRepair(self._memory, verified)

    async def restrict(self, private: Collection[StorePath], given: Collection[StorePath]) -> bool:
        return False

    async def hidden(self, private: Collection[StorePath]) -> Collection[StorePath]:
        return ()

    @contextlib.asynccontextmanager
    async def stage(self, claim: Claim) -> AsyncIterator[MemoryStaging]:
        yield MemoryStaging(self._memory, claim, to_mend=self._to_mend)

    async def commit(self, batch: Sequence[Ready]) -> None:
        for each in batch:
            assert isinstance(each.staging, MemoryStaging)
            each.staging.add(each.verified)

    async def keep(self, generation: Generation) -> None:
        missing = set(generation.paths) - self._memory.entries.keys()
        if missing:
            raise DestinationError(f"{min(missing)} is not in {self.name}")
        self._memory.kept[generation.target, generation.number] = generation

    async def generations(self, unreadable: Told | None = None) -> list[Generation]:
        return [self._memory.kept[key] for key in sorted(self._memory.kept)]

    async def forget(self, generation: Generation) -> None:
        self._memory.kept.pop((generation.target, generation.number), None)

    async def record(self, receipt: Receipt) -> None:
        self._memory.receipts[receipt.target] = receipt

    async def receipts(self, unreadable: Told | None = None) -> list[Receipt]:
        return [self._memory.receipts[target] for target in sorted(self._memory.receipts)]

    async def record_run(self, record: RunRecord) -> None:
        self._memory.runs[record.target] = record

    async def run_records(self, unreadable: Told | None = None) -> list[RunRecord]:
        return [self._memory.runs[target] for target in sorted(self._memory.runs)]

    async def forget_records(self, target: str) -> None:
        self._memory.receipts.pop(target, None)
        self._memory.runs.pop(target, None)


class MemoryStaging:
    """A path on its way in."""

    keeps: Literal["compressed", "nar"] = "compressed"

    def __init__(self, memory: Memory, claim: Claim, *, to_mend: bool) -> None:
        self._memory = memory
        self._claim = claim
        self._to_mend = to_mend
        self._data = bytearray()
        self.is_committed = False

    def write(self, data: bytes) -> None:
        self._data += data

    def add(self, verified: VerifiedPath) -> None:
        info = verified.info
        missing = set(info.references) - {info.path} - self._memory.entries.keys()
        if missing and not self._to_mend:
            raise DestinationError(f"{info.path} refers to {min(missing)}, which is not there yet")
        claim = Claim(info=info, compression=self._claim.compression)
        self._memory.entries[info.path] = Entry(claim, bytes(self._data))
        self.is_committed = True


@dataclass(frozen=True)
class MemorySweeping:
    """The removal of what no generation needs; nobody serves it."""

    memory: Memory

    async def sweep(
        self,
        live: Collection[StorePath] | None,
        *,
        targets: Collection[str],
        now: datetime,
        grace: timedelta,
        is_served: bool,
        dry_run: bool,
    ) -> Swept:
        memory = self.memory
        marked = set(memory.entries if live is None else live)
        unread = list(marked)
        while unread:
            if (entry := memory.entries.get(unread.pop())) is not None:
                new = set(entry.claim.info.references) - marked
                marked |= new
                unread += new
        going = sorted(memory.entries.keys() - marked)
        size = sum(len(memory.entries[path].nar) for path in going)
        if not dry_run:
            for path in going:
                del memory.entries[path]
            for records in (memory.receipts, memory.runs):
                for target in records.keys() - set(targets):
                    records.pop(target)
        return Swept(retired=tuple(going), files=len(going), bytes=size)


class MemoryRepair:
    """A repair: what is damaged is only obtained again."""

    def __init__(self, memory: Memory, verified: Verified) -> None:
        wanted = {each.path for each in verified.damages if each.path is not None}
        entries = {path: memory.entries[path] for path in wanted & memory.entries.keys()}
        self.batches: Sequence[Collection[StorePath]] = [wanted]
        self.infos = {path: each.claim.info for path, each in entries.items()}
        self.download_sizes = {path: len(each.nar) for path, each in entries.items()}

    def leftovers(self, keys: TrustedKeys) -> None: ...

    async def finish(self, mended: Sequence[Mended]) -> Sequence[Mended]:
        return mended


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data
