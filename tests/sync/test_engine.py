"""The engine alone: made-up paths from a source in memory, into a cache directory."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rig.made_paths import Made, put, text

from mirror.destinations import CacheDirectory
from mirror.errors import NotAvailableError, TransientError
from mirror.formats.compression import ZstdCompressor
from mirror.formats.verifier import Claim
from mirror.sources import Nar, Source, Wanted
from mirror.sync import engine
from mirror.sync.asking import Item
from mirror.sync.engine import obtain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    import pytest

    from mirror.destinations import Ready
    from mirror.formats.store_path import StorePath
    from mirror.sync.report import Outcome


@dataclass
class Memory:
    """A source that waits for ``gate`` before it gives ``slow``, or fails to."""

    paths: dict[StorePath, Made]
    slow: StorePath
    has_slow: bool = True
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    given: list[StorePath] = field(default_factory=list)
    name: str = "memory"
    is_one_party: bool = False

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        if wanted.path == self.slow:
            await self.gate.wait()
            if not self.has_slow:
                raise NotAvailableError("it does not have it")
        made = self.paths[wanted.path]
        claim = Claim(info=made.info, made_here=True)
        yield Nar(claim=claim, chunks=self._chunks(made), location="memory")

    async def _chunks(self, made: Made) -> AsyncIterator[bytes]:
        self.given.append(made.path)
        yield made.nar


class Silent:
    def __getattr__(self, _: str) -> object:
        return lambda *_: None


async def run(
    source: Memory,
    order: list[Made],
    directory: Path,
    *,
    incomplete: Mapping[StorePath, tuple[StorePath, ...]] | None = None,
) -> dict[StorePath, Outcome]:
    sources: list[Source] = [source]
    async with CacheDirectory.open(directory) as cache:
        return await obtain(
            [Item(wanted=Wanted(path=made.path), sources=sources) for made in order],
            cache,
            Silent(),  # type: ignore[arg-type] # whatever it is told
            present=(),
            incomplete=incomplete,
            jobs=4,
            keep_going=True,
        )


async def test_so_many_paths_wait_for_one_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "STAGED_AT_ONCE", 10)
    base = text("base")
    order = [base, *(text(f"user-{n}", base) for n in range(50))]
    source = Memory({made.path: made for made in order}, slow=base.path)
    running = asyncio.create_task(run(source, order, tmp_path / "cache"))
    while len(source.given) < 10:  # noqa: ASYNC110 - the source tells nobody
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)  # more would come now
    assert len(source.given) < 15
    source.gate.set()
    outcomes = await running
    assert {outcome.result for outcome in outcomes.values()} == {"stored"}


async def test_what_refers_to_a_failed_path_is_not_downloaded(tmp_path: Path) -> None:
    base, other = text("base"), text("other")
    early = text("early", base)
    late = [text(f"late-{n}", early) for n in range(20)]
    order = [base, early, other, *late]
    source = Memory({made.path: made for made in order}, slow=base.path, has_slow=False)
    source.gate.set()
    outcomes = await run(source, order, tmp_path / "cache")
    assert {path for path in outcomes if outcomes[path].result == "stored"} == {other.path}
    assert not {made.path for made in late[4:]} & set(source.given)
    assert list(tmp_path.glob("cache/.prefetch/staging/*")) == []


@dataclass
class Away:
    """A server that is asked, and never answers."""

    asked: int = 0
    name: str = "away"
    is_one_party: bool = True

    def open(self, wanted: Wanted) -> contextlib.AbstractAsyncContextManager[Nar]:
        self.asked += 1
        raise TransientError(f"{wanted.path}: timed out")


async def test_a_server_that_fails_again_and_again_is_left_alone(tmp_path: Path) -> None:
    order = [text(f"path-{n}") for n in range(30)]
    away = Away()
    memory = Memory({made.path: made for made in order}, slow=text("nothing").path)
    async with CacheDirectory.open(tmp_path / "cache") as cache:
        outcomes = await obtain(
            [Item(wanted=Wanted(path=made.path), sources=[away, memory]) for made in order],
            cache,
            Silent(),  # type: ignore[arg-type] # whatever it is told
            present=(),
            jobs=1,
            keep_going=True,
        )
    assert {outcome.result for outcome in outcomes.values()} == {"stored"}
    assert away.asked == 3
    assert "3 times running" in outcomes[order[-1].path].attempts[0].error


@dataclass
class Compressed:
    """A source that gives a NAR as zstd compresses it."""

    made: Made
    name: str = "compressed"
    is_one_party: bool = False

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        assert wanted.path == self.made.path
        claim = Claim(info=self.made.info, compression="zstd")
        yield Nar(claim=claim, chunks=self._chunks(), location=self.name)

    async def _chunks(self) -> AsyncIterator[bytes]:
        compressor = ZstdCompressor()
        data = compressor.feed(self.made.nar) + compressor.finish()
        assert len(data) < 1000
        yield data


@dataclass
class Watched:
    """A destination that unpacks, and in which threads it did so."""

    threads: set[threading.Thread] = field(default_factory=set)
    keeps: Literal["nar"] = "nar"
    is_committed = True

    @contextlib.asynccontextmanager
    async def stage(self, _: Claim) -> AsyncIterator[Watched]:
        yield self

    def write(self, _: bytes) -> None:
        self.threads.add(threading.current_thread())

    async def commit(self, _: Sequence[Ready]) -> None: ...


async def test_much_that_was_compressed_to_little_holds_up_nobody() -> None:
    bomb = text("bomb", content=bytes(4 << 20))
    watched = Watched()
    outcomes = await obtain(
        [Item(wanted=Wanted(path=bomb.path), sources=[Compressed(bomb)])],
        watched,  # type: ignore[arg-type] # what the engine needs of one
        Silent(),  # type: ignore[arg-type] # whatever it is told
        present=(),
        jobs=1,
        keep_going=True,
    )
    assert outcomes[bomb.path].result == "stored"
    assert watched.threads
    assert threading.main_thread() not in watched.threads


async def hold_without_its_reference(directory: Path) -> tuple[Made, Made, Made]:
    """Three texts of which each refers to the one before; only the second is there."""
    base = text("base")
    middle = text("middle", base)
    async with CacheDirectory.open(directory) as cache:
        await put(cache, base)
        await put(cache, middle)
    (directory / f"{base.path.hash_part}.narinfo").unlink()
    return base, middle, text("top", middle)


async def test_what_is_held_counts_once_what_it_lacks_has_come(tmp_path: Path) -> None:
    base, middle, top = await hold_without_its_reference(tmp_path)
    source = Memory({made.path: made for made in (base, top)}, slow=base.path)
    incomplete = {middle.path: (base.path,)}
    running = asyncio.create_task(run(source, [base, top], tmp_path, incomplete=incomplete))
    while top.path not in source.given:  # noqa: ASYNC110 - the source tells nobody
        await asyncio.sleep(0.01)
    # Verified it is; but whoever read it now would miss what it leads to.
    assert not (tmp_path / f"{top.path.hash_part}.narinfo").exists()
    source.gate.set()
    outcomes = await running
    assert {path: each.result for path, each in outcomes.items()} == {
        base.path: "stored",
        middle.path: "held",
        top.path: "stored",
    }


async def test_what_refers_to_something_that_stays_incomplete_is_not_stored(
    tmp_path: Path,
) -> None:
    base, middle, top = await hold_without_its_reference(tmp_path)
    source = Memory({top.path: top}, slow=base.path)
    outcomes = await run(source, [top], tmp_path, incomplete={middle.path: (base.path,)})
    assert {outcome.result for outcome in outcomes.values()} == {"failed"}
    assert str(base.path) in outcomes[middle.path].attempts[0].error
    assert str(middle.path) in outcomes[top.path].attempts[-1].error
    assert not (tmp_path / f"{top.path.hash_part}.narinfo").exists()
