"""Pruning whole destinations: exactly what the generations that stay need is left."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rig.made_paths import generation, input_addressed, put
from rig.running import ScratchStore, collect_garbage

from mirror.destinations import CacheDirectory, RunRecord
from mirror.planning.retention import Retention
from mirror.sync.kept.prune import prune

if TYPE_CHECKING:
    from pathlib import Path

    from rig.bench import Bench

    from mirror.destinations import Generation
    from mirror.nix.command import Nix
    from mirror.sync.kept.prune import Pruned

CONFIGURATIONS = (
    'networking.hostName = "one"; environment.systemPackages = [ pkgs.hello pkgs.editor ];',
    'networking.hostName = "two"; environment.systemPackages = [ pkgs.ledger ];',
    'networking.hostName = "two"; environment.systemPackages = [ pkgs.ledger pkgs.atlas ];',
    'networking.hostName = "four"; environment.systemPackages = [ pkgs.calendar pkgs.hello ];',
    'networking.hostName = "five"; environment.systemPackages = [ pkgs.atlas pkgs.hello ];',
)


def configure(distribution: Path, configuration: str) -> None:
    (distribution / "hosts/laptop.nix").write_text(f"{{ pkgs, ... }}: {{ {configuration} }}\n")


def published(cache: Path) -> dict[str, bytes]:
    files = [*cache.glob("*.narinfo"), *(cache / "nar").iterdir(), cache / "nix-cache-info"]
    return {str(file.relative_to(cache)): file.read_bytes() for file in files}


async def pruned(
    bench: Bench, nix: Nix, to: Path | ScratchStore, retention: Retention, *, dry_run: bool = False
) -> Pruned:
    async with bench.destination(nix, to) as destination:
        return await prune(
            destination,
            retention,
            listed=None,
            removed=False,
            grace=timedelta(hours=1),
            now=datetime.now(UTC),
            dry_run=dry_run,
        )


async def generations(bench: Bench, nix: Nix, to: Path | ScratchStore) -> list[Generation]:
    async with bench.destination(nix, to) as destination:
        return await destination.generations()


async def test_two_generations_of_five_leave_what_a_fresh_sync_of_these_two_brings(
    bench: Bench, nix_stable: Nix
) -> None:
    distribution = bench.directory / "distribution"
    shutil.copytree(bench.upstream.distribution, distribution)
    lines = f"laptop = path:{distribution}#laptop level=sources"
    used, fresh = bench.directory / "used", bench.directory / "fresh"
    sizes = []
    for configuration in CONFIGURATIONS:
        configure(distribution, configuration)
        synced = await bench.sync(nix_stable, lines, used)
        assert synced.is_complete
        sizes.append(len(published(used)))
    assert sizes == sorted(set(sizes)), "each brings something that the others lack"
    foreseen = await pruned(bench, nix_stable, used, Retention(keep=2), dry_run=True)
    done = await pruned(bench, nix_stable, used, Retention(keep=2))
    assert done == foreseen
    assert [each.number for each in done.selection.dropped] == [1, 2, 3]
    # Nothing of it may come from what the first five left in the store.
    bench.evaluation = bench.empty_store("evaluated-anew")
    for configuration in CONFIGURATIONS[-2:]:
        configure(distribution, configuration)
        await bench.sync(nix_stable, lines, fresh)
    left, expected = published(used), published(fresh)
    assert left.keys() == expected.keys()
    assert [name for name in left if left[name] != expected[name]] == []
    assert [undated(each) for each in await generations(bench, nix_stable, used)] == [
        undated(each) for each in await generations(bench, nix_stable, fresh)
    ]


def undated(generation: Generation) -> Generation:
    return replace(generation, number=0, created=datetime(1970, 1, 1, tzinfo=UTC))


async def test_a_stores_roots_go_and_nix_collects_what_only_they_kept(
    bench: Bench, any_nix: Nix
) -> None:
    distribution = bench.directory / "distribution"
    shutil.copytree(bench.upstream.distribution, distribution)
    lines = f"laptop = path:{distribution}#laptop"
    client = bench.empty_store("client")
    for configuration in CONFIGURATIONS[:2]:
        configure(distribution, configuration)
        await bench.sync(any_nix, lines, client)
    first, second = await generations(bench, any_nix, client)
    only_first = set(first.paths) - set(second.paths)
    foreseen = await pruned(bench, any_nix, client, Retention(keep=1), dry_run=True)
    assert await generations(bench, any_nix, client) == [first, second]
    done = await pruned(bench, any_nix, client, Retention(keep=1))
    assert done == foreseen
    assert done.selection.dropped == (first,)
    assert done.swept is None
    assert done.collectable is not None
    assert done.collectable.paths == len(only_first) > 0
    assert 0 < done.collectable.nar_bytes < first.nar_bytes
    left = collect_garbage(any_nix, client)
    assert set(second.paths) <= left
    assert left.isdisjoint(only_first)


async def test_what_was_never_kept_is_told_of_until_it_leaves_the_lists(tmp_path: Path) -> None:
    made = input_addressed("made")

    async def told_after(listed: set[str] | None) -> set[str]:
        await prune(
            cache,
            Retention(keep=1),
            listed=listed,
            removed=False,
            grace=timedelta(hours=1),
            now=datetime.now(UTC),
            dry_run=False,
        )
        return {each.target for each in await cache.run_records()}

    async with CacheDirectory.open(tmp_path / "cache") as cache:
        await put(cache, made)
        await cache.keep(generation([made]))
        await cache.record_run(
            RunRecord(target="new", finished=datetime.now(UTC), number=None, is_complete=False)
        )
        assert await told_after(None) == {"new"}
        assert await told_after({"pi", "new"}) == {"new"}
        assert await told_after({"pi"}) == set()
