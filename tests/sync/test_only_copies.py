"""What vanished upstream, or became another, while it is held: kept, and told once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from mirror.demo.upstream import serve_upstream
from mirror.errors import ToolError
from mirror.planning.fetchers.fixed_outputs import Download, Unpack
from mirror.sources.caches.by_priority import Caches
from mirror.sync.kept.only_copies import ask_upstream
from mirror.sync.planner import make_plan
from mirror.sync.prepare import evaluate_targets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rig.bench import Bench

    from mirror.demo.upstream import Upstream
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.planning.availability import Offer
    from mirror.planning.fetchers.fixed_outputs import FixedOutput, Origin
    from mirror.sync.results import Synced

LINES = "laptop = DEMO#laptop level=sources"


@pytest.fixture
async def own(bench: Bench, nix_stable: Nix, tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench with an upstream that the test may damage."""
    copy = tmp_path / "upstream"
    shared = bench.upstream.cache_directory.parent
    shutil.copytree(shared, copy, ignore=shutil.ignore_patterns("distribution", "scratch"))
    async with serve_upstream(nix_stable, copy) as served:
        yield replace(bench, upstream=served)


@dataclass
class Held:
    """Paths of each kind, and the files that they come from upstream."""

    download: FixedOutput
    archive: FixedOutput
    package: StorePath

    def file(self, upstream: Upstream, fixed: FixedOutput) -> Path:
        (url,) = fixed.origin.urls
        return upstream.origin_directory / url.removeprefix(f"{upstream.origin_url}/")

    def narinfo(self, upstream: Upstream) -> Path:
        return upstream.cache_directory / f"{self.package.hash_part}.narinfo"


def choose(synced: Synced) -> Held:
    def first(kind: type[Origin]) -> FixedOutput:
        return next(
            each
            for each in synced.plan.fetch
            if isinstance(each.origin, kind)
            and len(each.origin.urls) == 1
            and (kind is not Download or each.mode == "flat")
        )

    package = next(
        each.path for each in synced.plan.substitute if each.path in synced.kept[0].paths
    )
    return Held(download=first(Download), archive=first(Unpack), package=package)


async def only_copies(bench: Bench, nix: Nix, cache: Path) -> set[StorePath]:
    async with bench.destination(nix, cache) as destination:
        (record,) = await destination.run_records()
    return set(record.only_copies)


async def test_what_nobody_has_any_more_is_kept_and_told_once(own: Bench, nix_stable: Nix) -> None:
    cache = own.directory / "cache"
    first = await own.sync(nix_stable, LINES, cache)
    held = choose(first)
    asked = len(own.upstream.requests)
    untouched = await own.sync(nix_stable, LINES, cache, ask=True)
    assert not untouched.only_copies
    assert not untouched.is_news
    requests = own.upstream.requests[asked:]
    assert any(each.startswith("HEAD /origin/") for each in requests)
    assert not [each for each in requests if "/nar/" in each or each.startswith("GET /origin/")]

    download = held.file(own.upstream, held.download)
    content = download.read_bytes()
    download.write_bytes(content + b"and something else")
    held.file(own.upstream, held.archive).unlink()
    held.narinfo(own.upstream).unlink()
    gone = {held.download.path, held.archive.path, held.package}
    second = await own.sync(nix_stable, LINES, cache, ask=True)
    assert second.only_copies.keys() == gone
    assert "another file now" in second.only_copies[held.download.path]
    assert "404" in second.only_copies[held.archive.path]
    assert own.upstream.cache_url in second.only_copies[held.package]
    assert second.is_news
    assert second.is_complete
    assert second.unchanged == first.kept
    assert await only_copies(own, nix_stable, cache) == gone

    third = await own.sync(nix_stable, LINES, cache, ask=True)
    assert not third.only_copies
    assert not third.is_news
    await own.sync(nix_stable, LINES, cache)
    assert await only_copies(own, nix_stable, cache) == gone, "it is remembered when not asked"

    download.write_bytes(content)
    fourth = await own.sync(nix_stable, LINES, cache, ask=True)
    assert not fourth.only_copies
    assert await only_copies(own, nix_stable, cache) == gone - {held.download.path}
    download.unlink()
    fifth = await own.sync(nix_stable, LINES, cache, ask=True)
    assert fifth.only_copies.keys() == {held.download.path}, "it had been there again"


async def test_nothing_is_said_where_not_everybody_could_be_asked(
    own: Bench, nix_stable: Nix
) -> None:
    cache = own.directory / "cache"
    first = await own.sync(nix_stable, LINES, cache)
    held = choose(first)
    held.file(own.upstream, held.archive).unlink()
    held.narinfo(own.upstream).unlink()
    again = await own.sync(
        nix_stable,
        LINES,
        cache,
        ask=True,
        substituters=(own.upstream.cache_url, "file:///no/cache"),
    )
    assert not again.only_copies


async def test_what_was_made_here_is_no_only_copy(own: Bench, nix_stable: Nix) -> None:
    store = own.empty_store("client")
    await own.sync(nix_stable, "laptop = DEMO#laptop", store, build=True)
    again = await own.sync(nix_stable, "laptop = DEMO#laptop", store, build=True, ask=True)
    assert not again.only_copies


class _Unusable(Caches):
    async def offer(self, path: StorePath, *, is_fixed_output: bool) -> Offer | None:
        raise ToolError(f"{path} cannot be asked for ({is_fixed_output})")


async def test_what_stops_the_asking_is_the_error_itself(bench: Bench, nix_stable: Nix) -> None:
    cache, recorder = bench.directory / "cache", bench.recorder
    await bench.sync(nix_stable, LINES, cache)
    async with (
        bench.workshop(nix_stable) as workshop,
        bench.destination(nix_stable, cache) as destination,
    ):
        evaluated = await evaluate_targets(bench.targets(LINES), workshop, recorder)
        plan = await make_plan(evaluated, workshop, destination, recorder)
        unusable = replace(workshop, caches=_Unusable(workshop.caches.all))
        with pytest.raises(ToolError, match="cannot be asked for"):
            await ask_upstream(plan, evaluated, unusable, destination, recorder)
