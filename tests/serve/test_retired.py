"""What a client may still ask for after it was pruned, whatever happens to the server meanwhile."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from rig.made_paths import chain, generation, put
from rig.running import run
from rig.serving import serve_directory

from mirror.destinations import CacheDirectory
from mirror.destinations.cache.layout import RETIRED
from mirror.formats.narinfo import parse_narinfo
from mirror.planning.retention import Retention
from mirror.serve.library.retired import Retired
from mirror.sync.kept.prune import prune

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from rig.bench import Bench
    from rig.serving import Served

    from mirror.destinations.capabilities import Swept
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix

LEASE: Final = 1000.0
LINKS = chain(3)


async def pruned(cache: Path) -> Swept:
    """Drop all generations but the newest of each target."""
    async with CacheDirectory.open(cache) as directory:
        done = await prune(
            directory,
            Retention(keep=1),
            listed=None,
            removed=False,
            grace=timedelta(hours=1),
            now=datetime.now(UTC),
            dry_run=False,
        )
    assert done.swept is not None
    return done.swept


async def statuses(served: Served, paths: Iterable[StorePath]) -> set[int]:
    """What narinfos and NARs are answered with."""
    found = set()
    for path in paths:
        reply = await served.ask(f"/{path.hash_part}.narinfo")
        found.add(reply.status)
        if reply.status == 200:
            found.add((await served.ask(f"/{parse_narinfo(reply.body).url}")).status)
    return found


@pytest.fixture
async def cache(tmp_path: Path) -> Path:
    """Two generations, of which the second needs nothing of the first."""
    async with CacheDirectory.open(tmp_path / "cache") as directory:
        other = chain(1, "other")
        for made in (*LINKS, *other):
            await put(directory, made)
        await directory.keep(generation(LINKS))
        await directory.keep(generation(other, number=2))
    return tmp_path / "cache"


PATHS: Final = [made.path for made in reversed(LINKS)]


def age(cache: Path, path: StorePath, seconds: float) -> None:
    """Make it seem that a path was retired so long ago."""
    moment = time.time() - seconds
    os.utime(cache / RETIRED / f"{path.hash_part}.narinfo", (moment, moment))


async def test_outputs_are_there_for_a_client_that_was_given_derivations(
    bench: Bench, nix_stable: Nix
) -> None:
    """The outputs go while the derivations stay, as when a target's level is lowered."""
    cache = bench.directory / "cache"
    await bench.sync(nix_stable, "hello = DEMO#hello level=full", cache)
    async with serve_directory(cache) as served:
        async with CacheDirectory.open(cache) as directory:
            (first,) = await directory.generations()
            derivations = [path for path in first.paths if path.is_derivation]
            private = first.private or ()
            outputs = [
                path for path in first.paths if not path.is_derivation and path not in private
            ]
            assert await statuses(served, derivations) == {200}
            references = {
                reference
                for info in (await directory.held(derivations)).values()
                for reference in info.references
            }
            kept = tuple(sorted({*derivations, *references}))
            await directory.keep(replace(first, number=2, paths=kept))
        swept = await pruned(cache)
        gone = [path for path in outputs if path in swept.retired]
        assert len(gone) > 10
        assert await statuses(served, gone) == {200}
        client = bench.empty_store("client")
        key = bench.upstream.public_key
        await asyncio.to_thread(
            run,
            nix_stable,
            *("nix-store", "--realise", first.root),
            store=client,
            config=(f"substituters = {served.url}", f"trusted-public-keys = {key}"),
        )


async def test_a_server_that_was_started_anew_goes_on(cache: Path) -> None:
    async with serve_directory(cache) as served:
        assert await statuses(served, PATHS[:1]) == {200}
        assert (await pruned(cache)).held_back is not None
    assert (await pruned(cache)).held_back is not None, "nobody serves now"
    async with serve_directory(cache) as served, serve_directory(cache) as another:
        assert await statuses(served, PATHS) == {200}
        assert await statuses(another, PATHS) == {200}


async def test_who_comes_late_is_not_led_there_and_who_came_in_time_goes_on(cache: Path) -> None:
    async with (
        serve_directory(cache, lease_seconds=LEASE) as followed,
        serve_directory(cache, lease_seconds=LEASE) as fresh,
    ):
        await pruned(cache)
        assert await statuses(followed, PATHS[:1]) == {200}
        for path in PATHS:
            age(cache, path, LEASE)
        assert await statuses(followed, PATHS[1:]) == {200}
        assert await statuses(fresh, PATHS) == {404}


async def test_who_was_given_a_retired_derivation_is_led_to_what_it_makes(
    bench: Bench, nix_stable: Nix
) -> None:
    cache = bench.directory / "cache"
    await bench.sync(nix_stable, "hello = DEMO#hello level=full", cache)
    async with CacheDirectory.open(cache) as directory:
        (first,) = await directory.generations()
        other = chain(1, "other")
        await put(directory, other[0])
        await directory.keep(generation(other, target=first.target, number=2))
    made = [*first.outputs, *(path for path in first.paths if path.name.startswith("busybox"))]
    async with serve_directory(cache, lease_seconds=LEASE) as served:
        assert (await pruned(cache)).held_back is not None
        assert await statuses(served, [first.root]) == {200}
        for path in first.paths:
            age(cache, path, LEASE)
        assert await statuses(served, made) == {200}


async def test_a_clock_that_is_set_cuts_nobody_off(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_directory(cache):
        await pruned(cache)
    retired = Retired(cache, LEASE)
    await retired.look()
    now = time.time()
    for step in (3 * LEASE, -3 * LEASE):
        monkeypatch.setattr(time, "time", lambda step=step: now + step)
        assert await retired.find(PATHS[0].hash_part) is not None


async def test_many_requests_at_once_read_what_is_retired_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_directory(cache):
        await pruned(cache)
    retired = Retired(cache, LEASE)
    assert await retired.find(PATHS[0].hash_part) is not None
    for path in PATHS[1:]:
        age(cache, path, LEASE)
    os.utime(cache / RETIRED, (1, 1))  # nothing changed lately
    read, times = retired._read, []

    def counted() -> Mapping[str, Collection[str]]:
        times.append(1)
        return read()

    monkeypatch.setattr(retired, "_read", counted)
    found = await asyncio.gather(*(retired.find(path.hash_part) for path in PATHS[1:] * 10))
    assert None not in found
    assert len(times) == 1


async def until(served: Served, status: int) -> None:
    while (await served.ask(f"/{PATHS[0].hash_part}.narinfo")).status != status:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def test_a_directory_that_was_away_is_served_and_locked_again(
    cache: Path, tmp_path: Path
) -> None:
    """As an external disk: what comes back has other inodes."""
    away = tmp_path / "away"
    async with serve_directory(cache) as served:
        assert await statuses(served, PATHS) == {200}
        cache.rename(away)
        cache.mkdir()  # as a mount point is
        for target in (f"/{PATHS[0].hash_part}.narinfo", "/nix-cache-info", "/", "/metrics"):
            assert (await served.ask(target)).status == 503, target
        cache.rmdir()
        shutil.copytree(away, cache)
        # Where it is seen that a server ran, this is held back even before the lock is taken.
        (cache / ".prefetch/served").unlink(missing_ok=True)
        await until(served, 200)
        swept = await pruned(cache)
        assert swept.held_back is not None
        assert swept.held_back.is_running
        assert await statuses(served, PATHS) == {200}
        assert len(served.log) == 2
        assert "is gone" in served.log[0]
        assert served.log[1] == "served again"


async def test_a_directory_that_is_pruned_as_it_comes_back_is_known_to_have_clients(
    cache: Path,
) -> None:
    """Before the server has noticed: no lock is held on what came back."""
    async with serve_directory(cache):
        pass
    assert (await pruned(cache)).held_back is not None
