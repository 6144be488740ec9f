"""A run of the pipeline in a test: real Nix, the demo's upstream, a store to evaluate in."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from mirror.destinations import CacheDirectory, NixStore
from mirror.nix.stores import StoreLocation
from mirror.planning.lists.list_file import parse_list
from mirror.shipped import shipped_edits
from mirror.sources.http.settings import HttpSettings
from mirror.sync.run import sync
from mirror.sync.sync_options import SyncOptions
from mirror.sync.workshop import Workshop, WorkshopOptions, open_workshop
from rig.running import ScratchStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from mirror.demo.upstream import Upstream
    from mirror.destinations import Destination
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.planning.lists.targets import Target
    from mirror.sync.report import Count, Expected, Outcome
    from mirror.sync.results import Synced

QUICK = HttpSettings(attempts=2, first_pause=0.01, speed_seconds=5, connect_seconds=20)
"""It asks servers of its own process, which answer late while a busy machine plans, or hashes."""


def _nothing(begun: int, newest: str = "") -> None: ...


@dataclass
class Recorder:
    """An observer that remembers."""

    notices: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    received_bytes: int = 0
    local: frozenset[StorePath] = frozenset()

    def step(self, text: str) -> None: ...

    def notice(self, text: str) -> None:
        self.notices.append(text)

    @contextlib.contextmanager
    def counting(self, text: str, total: int | None) -> Iterator[Count]:  # noqa: ARG002 - as below
        yield _nothing

    def transfer_begins(self, expected: Expected) -> None:
        self.local = expected.local

    def started(self, path: StorePath, source: str) -> None: ...

    def received(self, path: StorePath, amount: int) -> None:
        if path not in self.local:
            self.received_bytes += amount

    def finished(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def transfer_ends(self) -> None: ...


@dataclass
class Bench:
    """What most tests need: targets, a store to evaluate in, places for destinations."""

    upstream: Upstream
    directory: Path
    evaluation: ScratchStore
    recorder: Recorder
    stores: list[ScratchStore] = field(default_factory=list)

    def targets(self, text: str) -> list[Target]:
        """The targets of list lines, in which ``DEMO`` is the distribution's directory."""
        text = text.replace("DEMO", f"path:{self.upstream.distribution}")
        return parse_list(
            text, file="test.txt", directory=self.directory, shipped_edits=shipped_edits()
        )

    def empty_store(self, name: str) -> ScratchStore:
        """A store that is removed with the test."""
        store = ScratchStore(self.directory / name)
        self.stores.append(store)
        return store

    @contextlib.asynccontextmanager
    async def workshop(
        self,
        nix: Nix,
        *,
        substituters: tuple[str, ...] | None = None,
        trusted_keys: tuple[str, ...] | None = None,
        builder: bool = True,
    ) -> AsyncIterator[Workshop]:
        """A workshop on the demo's upstream, unless the options say otherwise."""
        upstream = self.upstream
        options = WorkshopOptions(
            store=self.evaluation.url,
            substituters=(upstream.cache_url,) if substituters is None else substituters,
            trusted_keys=(upstream.public_key,) if trusted_keys is None else trusted_keys,
            builder=builder,
            archives=False,
            http=QUICK,
        )
        async with open_workshop(nix, options, self.recorder) as opened:
            yield opened

    @contextlib.asynccontextmanager
    async def destination(self, nix: Nix, to: Path | ScratchStore) -> AsyncIterator[Destination]:
        """A cache directory, or a scratch store, with its lock held."""
        if isinstance(to, ScratchStore):
            async with NixStore.open(nix, StoreLocation.parse(to.url)) as store:
                yield store
        else:
            async with CacheDirectory.open(to) as cache:
                yield cache

    async def sync(
        self,
        nix: Nix,
        text: str,
        to: Path | ScratchStore,
        *,
        build: bool = False,
        keep_going: bool = True,
        substituters: tuple[str, ...] | None = None,
        trusted_keys: tuple[str, ...] | None = None,
        builder: bool = True,
        refresh: bool = False,
        ask: bool = False,
    ) -> Synced:
        """A whole sync of list lines to a destination."""
        opening = self.workshop(
            nix, substituters=substituters, trusted_keys=trusted_keys, builder=builder
        )
        options = SyncOptions(
            jobs=8, keep_going=keep_going, build=build, refresh=refresh, ask_upstream=ask
        )
        async with self.destination(nix, to) as destination:
            return await sync(self.targets(text), opening, destination, self.recorder, options)


@pytest.fixture
def bench(upstream: Upstream, scratch_store: ScratchStore, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(
        upstream=upstream, directory=tmp_path, evaluation=scratch_store, recorder=Recorder()
    )
    yield made
    for store in made.stores:
        store.remove()
