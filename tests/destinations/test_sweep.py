"""Sweeping a cache directory: what goes, in which order, and what a running server keeps."""

from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from rig.made_paths import Made, chain, generation, input_addressed, put, text

from mirror.destinations.cache.directory import CacheDirectory
from mirror.destinations.cache.layout import CONTENTS, RETIRED, SERVED, SERVING
from mirror.destinations.cache.served import SERVED_LATELY
from mirror.destinations.cache.sweep import Sweep
from mirror.errors import DestinationError
from mirror.formats.narinfo import parse_narinfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

    from mirror.destinations.capabilities import Swept

NOW = datetime(2026, 11, 24, 12, 0, 30, 999_999, tzinfo=UTC)
HOUR = timedelta(hours=1)


@contextlib.asynccontextmanager
async def cache_of(path: Path, *made: Made) -> AsyncIterator[CacheDirectory]:
    async with CacheDirectory.open(path) as cache:
        for each in made:
            await put(cache, each)
        yield cache


@contextlib.contextmanager
def served(cache: Path) -> Iterator[None]:
    """As a running server holds it."""
    with (cache / SERVING).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def sweep(
    cache: Path, live: Iterable[Made], *, now: datetime = NOW, grace: timedelta = HOUR
) -> Swept:
    paths = {made.path for made in live}
    return Sweep(cache, live=paths, targets=["pi"], now=now).run(grace=grace)


def published(cache: Path) -> set[str]:
    return {path.name.removesuffix(".narinfo") for path in cache.glob("*.narinfo")}


def retired(cache: Path) -> set[str]:
    return {path.name.removesuffix(".narinfo") for path in (cache / RETIRED).glob("*")}


def nars(cache: Path) -> set[str]:
    return {f"nar/{path.name}" for path in (cache / "nar").iterdir()}


def parts(made: Iterable[Made]) -> set[str]:
    return {each.path.hash_part for each in made}


def urls(cache: Path) -> set[str]:
    return {parse_narinfo(path.read_bytes()).url for path in cache.glob("*.narinfo")}


def everything(cache: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(cache)): path.read_bytes() if path.is_file() else None
        for path in cache.rglob("*")
    }


async def test_what_is_live_stays_with_all_that_it_refers_to(tmp_path: Path) -> None:
    old, new = chain(3, "old"), chain(3, "new")
    async with cache_of(tmp_path, *old, *new):
        # Its references are not named: what leads to them is enough.
        swept = sweep(tmp_path, [new[-1]])
    assert set(swept.retired) == {made.path for made in old}
    assert published(tmp_path) == parts(new)
    assert nars(tmp_path) == urls(tmp_path)
    assert not retired(tmp_path)
    assert (swept.files, swept.held_back) == (6, None)


async def test_a_nar_that_two_paths_share_goes_with_the_last_of_them(tmp_path: Path) -> None:
    one, other = text("one", content=b"same"), text("other", content=b"same")
    async with cache_of(tmp_path, one, other):
        (nar,) = nars(tmp_path)
        sweep(tmp_path, [one])
        assert nars(tmp_path) == {nar}
        with served(tmp_path):
            sweep(tmp_path, [])
            assert nars(tmp_path) == {nar}, "the retired narinfo names it"
        sweep(tmp_path, [], now=NOW + HOUR)
        assert not nars(tmp_path)


async def test_while_a_narinfo_that_is_kept_cannot_be_read_every_nar_stays(tmp_path: Path) -> None:
    """Which NAR it named is not known, and its NAR may be the only copy there is."""
    kept, dropped = text("kept"), text("dropped")
    async with cache_of(tmp_path, kept, dropped):
        all_nars = nars(tmp_path)
        (tmp_path / f"{kept.path.hash_part}.narinfo").write_bytes(b"damaged")
        swept = sweep(tmp_path, [kept])
        assert swept.unreadable == (f"{kept.path.hash_part}.narinfo",)
        assert published(tmp_path) == parts([kept])
        assert nars(tmp_path) == all_nars
    async with cache_of(tmp_path, kept):  # as a sync mends it
        assert sweep(tmp_path, [kept]).unreadable == ()
        assert nars(tmp_path) == urls(tmp_path)


async def test_a_narinfo_that_is_a_link_keeps_its_nar(tmp_path: Path) -> None:
    """Its readers follow it."""
    made = text("hello")
    async with cache_of(tmp_path / "cache", made, text("other")) as cache:
        url = parse_narinfo((cache.directory / narinfo_of(made)).read_bytes()).url
        (cache.directory / narinfo_of(made)).rename(tmp_path / narinfo_of(made))
        (cache.directory / narinfo_of(made)).symlink_to(tmp_path / narinfo_of(made))
        for live in ([made], []):
            sweep(cache.directory, live)
            assert (cache.directory / narinfo_of(made)).is_file()
            assert nars(cache.directory) == {url}


def narinfo_of(made: Made) -> str:
    return f"{made.path.hash_part}.narinfo"


async def test_a_rehearsal_says_what_goes_and_changes_nothing(tmp_path: Path) -> None:
    links = chain(3)
    async with cache_of(tmp_path, *links):
        pass
    before = everything(tmp_path)
    foreseen = Sweep(tmp_path, live={links[0].path}, targets=["pi"], now=NOW).rehearse()
    assert everything(tmp_path) == before
    async with cache_of(tmp_path):
        assert sweep(tmp_path, [links[0]]) == foreseen
    sizes = {name: len(data or b"") for name, data in before.items()}
    gone = before.keys() - everything(tmp_path).keys()
    assert foreseen.bytes == sum(sizes[name] for name in gone) > 0


async def test_only_what_is_a_caches_is_touched(tmp_path: Path) -> None:
    orphan = "nar/" + "1" * 52 + ".nar.xz"
    foreign = [
        *("index.html", "nar/readme", "nar/hello.nar", "logs/one", "receipts/notes.txt"),
        *("x.narinfo", ".prefetch/mine", f"nar/{'1' * 52}.nar.tmp"),
    ]
    made = text("made")
    async with cache_of(tmp_path, made) as cache:
        await cache.keep(generation([made]))
        (tmp_path / "generations/emptied").mkdir()
        (tmp_path / "generations/notes.txt").touch()
        for name in (*foreign, orphan, f"{'0' * 32}.narinfo", "receipts/pi.json", "runs/pi.json"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / f"{'2' * 32}.narinfo").symlink_to("index.html")
        before = everything(tmp_path)
        goes = {
            *(orphan, f"{'0' * 32}.narinfo", "generations/emptied", "receipts/gone.json"),
            *("runs/gone.json", "receipts/tmpabcd1234"),
        }
        for name in goes - before.keys():
            (tmp_path / name).touch()
        os.utime(tmp_path / "receipts/tmpabcd1234", (0, 0))
        (tmp_path / "receipts/tmpabcd5678").touch()
        new = {*before, "receipts/tmpabcd5678", RETIRED}
        sweep(tmp_path, [made], now=datetime.now(UTC))
    assert everything(tmp_path).keys() == (new | {CONTENTS}) - goes - {".prefetch/staging"}


async def test_a_sweep_that_knows_of_no_generation_takes_nothing(tmp_path: Path) -> None:
    links = chain(2)
    async with cache_of(tmp_path, *links):
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs/new.json").touch()
        before = everything(tmp_path)
        swept = Sweep(tmp_path, live=None, targets=[], now=NOW).run(grace=HOUR)
        assert (swept.retired, swept.files) == ((), 0)
        assert everything(tmp_path) == before


async def test_while_somebody_serves_the_dropped_are_kept_for_a_time(tmp_path: Path) -> None:
    links, stays = chain(3), text("stays")
    async with cache_of(tmp_path, *links, stays):
        had = nars(tmp_path)
        with served(tmp_path):
            first = sweep(tmp_path, [stays])
            assert published(tmp_path) == parts([stays])
            assert retired(tmp_path) == parts(links)
            assert nars(tmp_path) == had
            assert first.held_back is not None
            assert (first.held_back.paths, first.files) == (3, 0)
            assert first.held_back.until == NOW.replace(microsecond=0) + HOUR
            early = sweep(tmp_path, [stays], now=NOW + HOUR - timedelta(seconds=1))
            assert (early.retired, early.files, early.held_back) == ((), 0, first.held_back)
            late = sweep(tmp_path, [stays], now=NOW + HOUR)
            assert (late.files, late.bytes, late.held_back) == (6, first.held_back.bytes, None)
        assert not retired(tmp_path)
        assert nars(tmp_path) == urls(tmp_path)


async def test_a_clock_that_is_set_back_holds_nothing_back_for_longer(tmp_path: Path) -> None:
    links = chain(2)
    async with cache_of(tmp_path, *links):
        with served(tmp_path):
            sweep(tmp_path, [], now=NOW + timedelta(days=3650))
            set_back = sweep(tmp_path, [])
            assert set_back.held_back is not None
            assert set_back.held_back.until == NOW.replace(microsecond=0) + HOUR
            assert sweep(tmp_path, [], now=NOW + HOUR).files == 4
        assert not retired(tmp_path)


async def test_a_server_that_is_being_started_anew_has_clients_all_the_same(tmp_path: Path) -> None:
    """It ran when this was retired, and for its clients it does not matter when it ran last."""
    links = chain(3)
    async with cache_of(tmp_path, *links):
        with served(tmp_path):
            sweep(tmp_path, links[:2])
        assert len(retired(tmp_path)) == 1
        later = NOW + timedelta(minutes=1)
        between = sweep(tmp_path, links[:1], now=later)
        assert between.held_back is not None
        assert (between.held_back.paths, between.held_back.is_running) == (2, False)
        assert len(retired(tmp_path)) == 2
        assert sweep(tmp_path, links[:1], now=NOW + HOUR).files == 2
        assert sweep(tmp_path, links[:1], now=later + HOUR).files == 2
        assert not retired(tmp_path)


async def test_what_was_never_served_or_long_ago_goes_at_once(tmp_path: Path) -> None:
    links = chain(3)
    async with cache_of(tmp_path, *links):
        assert sweep(tmp_path, links[:2]).files == 2
        assert not (tmp_path / SERVED).exists()
        with served(tmp_path):
            sweep(tmp_path, links[:2])
        assert (tmp_path / SERVED).read_bytes() == b""
        assert sweep(tmp_path, links[:1], now=NOW + SERVED_LATELY).files == 2


async def test_a_user_may_say_that_another_server_has_clients(tmp_path: Path) -> None:
    links = chain(2)
    async with cache_of(tmp_path, *links):
        run = Sweep(tmp_path, live={links[0].path}, targets=["pi"], now=NOW).run
        assert run(grace=HOUR, is_served=True).held_back is not None
        assert len(retired(tmp_path)) == 1


async def test_a_server_cannot_begin_while_it_is_purged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cache_of(tmp_path, text("gone")):
        real, tried = os.unlink, []

        def unlink(path: Path) -> None:
            with pytest.raises(BlockingIOError), (tmp_path / SERVING).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            tried.append(path)
            real(path)

        monkeypatch.setattr(os, "unlink", unlink)
        sweep(tmp_path, [])
    assert len(tried) == 2


async def test_what_is_published_anew_is_live_again(tmp_path: Path) -> None:
    links = chain(2)
    async with cache_of(tmp_path, *links) as cache:
        with served(tmp_path):
            sweep(tmp_path, [])
            assert not await cache.held([made.path for made in links])
    async with CacheDirectory.open(tmp_path) as cache:
        await put(cache, links[0])
        with served(tmp_path):
            sweep(tmp_path, [links[0]])
        assert published(tmp_path) == parts(links[:1])
        assert retired(tmp_path) == parts(links[1:])
        assert len(await cache.held([links[0].path])) == 1
        assert len(nars(tmp_path)) == 2


async def test_narinfos_that_refer_to_each_other_are_named(tmp_path: Path) -> None:
    one, other = input_addressed("one"), input_addressed("other")
    async with cache_of(tmp_path, one, other):
        for made, refers_to in ((one, other), (other, one)):
            file = tmp_path / f"{made.path.hash_part}.narinfo"
            line = f"References: {refers_to.path.base_name}\n"
            file.write_text(file.read_text().replace("References: \n", line))
        with pytest.raises(DestinationError, match="refer to each other"):
            sweep(tmp_path, [])
        assert len(published(tmp_path)) == 2
