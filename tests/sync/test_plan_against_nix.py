"""The plan for an empty destination is what real Nix would do with an empty store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.generated import generate
from rig.running import dry_run, run

from mirror.destinations import CacheDirectory
from mirror.planning.fetchers.fixed_outputs import BuilderOnly
from mirror.sync.run import plan

if TYPE_CHECKING:
    from rig.bench import Bench

    from mirror.nix.command import Nix
    from mirror.planning.plan import Plan

CACHED_TARGETS = ("laptop", "pi", "default")


async def planned(bench: Bench, nix: Nix, text: str) -> Plan:
    async with (
        bench.workshop(nix) as workshop,
        CacheDirectory.open(bench.directory / "cache", exclusive=False) as destination,
    ):
        result = await plan(bench.targets(text), workshop, destination, bench.recorder)
    assert not result.failures
    assert not (bench.directory / "cache").exists(), "planning writes nothing"
    return result.plan


def expect_what_nix_says(bench: Bench, nix: Nix, made: Plan) -> None:
    """Compare with a dry run in a store that has the fetched sources, and nothing else.

    Nix has no native fetches: a source that it lacks it would build, with all that its fetcher
    needs. So the sources that are planned to be fetched natively are put into the store first,
    made by Nix itself.
    """
    native = [each for each in made.fetch if not isinstance(each.origin, BuilderOnly)]
    built = [each for each in made.fetch if isinstance(each.origin, BuilderOnly)]
    makers, empty = bench.empty_store("makers"), bench.empty_store("empty")
    root = made.targets[0].root
    copy = ("nix", "copy", "--no-check-sigs")
    for store in (makers, empty):
        run(nix, *copy, "--derivation", "--from", bench.evaluation.url, "--to", store.url, root)
    if native:
        run(
            nix,
            *("nix-store", "--realise", *(each.derivation for each in native)),
            store=makers,
            config=(
                f"substituters = {bench.upstream.cache_url}",
                f"trusted-public-keys = {bench.upstream.public_key}",
                "extra-platforms = aarch64-linux",
            ),
        )
        paths = [each.path for each in native]
        run(nix, *copy, "--from", makers.url, "--to", empty.url, *paths)
    said = dry_run(nix, root, store=empty, caches=[bench.upstream.cache_url])
    assert {*made.build, *(each.derivation for each in built)} == said.build
    assert {each.path for each in made.substitute} == said.substitute
    assert not said.unknown
    assert not made.unobtainable


@pytest.mark.parametrize("name", CACHED_TARGETS)
async def test_the_plan_of_a_demo_target_is_nix_own(bench: Bench, any_nix: Nix, name: str) -> None:
    made = await planned(bench, any_nix, f"DEMO#{name}")
    assert made.build
    assert made.substitute
    expect_what_nix_says(bench, any_nix, made)


@pytest.mark.thorough
async def test_the_plan_of_a_large_system_is_nix_own(bench: Bench, any_nix: Nix) -> None:
    generated = generate(any_nix, bench.upstream, bench.directory / "generating")
    made = await planned(bench, any_nix, f"large = {generated.file}#{generated.attribute}")
    derivations = [path for path in made.targets[0].evaluated if path.is_derivation]
    assert len(derivations) >= 2000
    assert len(made.build) > 100
    assert len(made.substitute) > 100
    expect_what_nix_says(bench, any_nix, made)


async def test_what_is_built_is_in_an_order_that_can_be_built(
    bench: Bench, nix_stable: Nix
) -> None:
    made = await planned(bench, nix_stable, "DEMO#laptop")
    position = {path: number for number, path in enumerate(made.build)}
    for path in made.build:
        inputs = made.targets[0].evaluated[path]
        assert all(position[each] < position[path] for each in inputs if each in position)
