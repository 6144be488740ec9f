"""What is said of being offline is what real Nix does: what it would build, what it cannot."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from rig.running import dry_run, instantiate, run

from mirror.formats.store_path import StorePath
from mirror.nix.derivations import read_closure
from mirror.nix.stores import StoreLocation
from mirror.planning.graph import Graph
from mirror.planning.readiness import Offline

if TYPE_CHECKING:
    from rig.running import ScratchStore

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix

TOPLEVEL = "nixosConfigurations.laptop.config.system.build.toplevel"


def valid_paths(nix: Nix, store: ScratchStore) -> set[StorePath]:
    said = run(nix, "nix", "path-info", "--all", store=store).stdout.split()
    return {StorePath.parse(path) for path in said}


@pytest.mark.parametrize("seed", range(6))
def test_the_cascade_and_readiness_are_nix_own(
    any_nix: Nix, upstream: Upstream, scratch_store: ScratchStore, seed: int
) -> None:
    root = StorePath.parse(
        instantiate(any_nix, upstream.distribution, TOPLEVEL, store=scratch_store)
    )
    graph = Graph(read_closure(StoreLocation.parse(scratch_store.url), [root]))
    cached = [
        path
        for path in graph.makers
        if (upstream.cache_directory / f"{path.hash_part}.narinfo").exists()
    ]
    # The more are there, the fewer are built; at the ends all and nothing.
    some = random.Random(seed).sample(sorted(cached), len(cached) * seed // 5)
    if some:
        run(
            any_nix,
            *("nix", "copy", "--no-check-sigs", "--from", upstream.cache_url),
            *("--to", scratch_store.url, *some),
        )
    offline = Offline(graph=graph, valid=valid_paths(any_nix, scratch_store))
    said = dry_run(any_nix, root, store=scratch_store, caches=[], config=["substitute = false"])
    readiness = offline.readiness(root)
    assert readiness.build == said.build
    assert not readiness.is_ready, "the sources of the laptop's own packages are in no cache"
    for missing in readiness.missing:
        assert missing.derivation is not None
        assert missing.chain[0] == root
        alone = dry_run(
            any_nix,
            missing.derivation,
            store=scratch_store,
            caches=[],
            config=["substitute = false"],
        )
        if len(missing.paths) == len(graph[missing.derivation].outputs):
            assert missing.cascade == len(alone.build)
