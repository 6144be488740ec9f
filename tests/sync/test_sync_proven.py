"""What a sync promises, shown with real Nix: offline builds, garbage collection, nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.running import collect_garbage, run

from mirror.planning.fetchers.fixed_outputs import BuilderOnly

if TYPE_CHECKING:
    from pathlib import Path

    from rig.bench import Bench
    from rig.running import ScratchStore

    from mirror.nix.command import Nix

NATIVE = {"download", "unpack", "git"}


def kept_root(store: ScratchStore) -> Path:
    """The link that keeps the first target's generation."""
    (link,) = (store.directory / "nix/var/nix/gcroots/prefetch").iterdir()
    return link


async def test_a_cache_directory_alone_builds_the_system_without_a_network(
    bench: Bench, any_nix: Nix
) -> None:
    cache = bench.directory / "cache"
    synced = await bench.sync(any_nix, "DEMO#laptop", cache)
    assert synced.is_complete
    client = bench.empty_store("client")
    run(
        any_nix,
        *("nix-store", "--realise", synced.plan.targets[0].root),
        store=client,
        config=(
            f"substituters = file://{cache}",
            f"trusted-public-keys = {bench.upstream.public_key}",
        ),
        offline=True,
    )


async def test_a_synced_store_survives_collection_and_builds_without_a_network(
    bench: Bench, any_nix: Nix
) -> None:
    client = bench.empty_store("client")
    synced = await bench.sync(any_nix, "DEMO#laptop", client)
    left = collect_garbage(any_nix, client)
    (generation,) = synced.kept
    assert {*generation.paths} <= left
    assert {each.path for each in synced.plan.substitute} <= left
    run(
        any_nix,
        *("nix-store", "--realise", generation.root, "--option", "substitute", "false"),
        store=client,
        offline=True,
    )


async def test_without_its_root_a_synced_store_is_collected_and_cannot_build(
    bench: Bench, any_nix: Nix
) -> None:
    client = bench.empty_store("client")
    synced = await bench.sync(any_nix, "DEMO#laptop", client)
    kept_root(client).unlink()
    left = collect_garbage(any_nix, client)
    assert synced.kept[0].root not in left
    failed = run(
        any_nix,
        *("nix-store", "--realise", synced.kept[0].root, "--option", "substitute", "false"),
        store=client,
        offline=True,
        check=False,
    )
    assert failed.returncode != 0


@pytest.mark.parametrize("system", ["x86_64-linux", "aarch64-linux"])
async def test_every_native_kind_is_fetched_without_any_builder(
    bench: Bench, nix_stable: Nix, system: str
) -> None:
    host = {"x86_64-linux": "laptop", "aarch64-linux": "pi"}[system]
    store = bench.empty_store("client")
    # No cache at all: every source of the whole build graph has to come from its origin.
    synced = await bench.sync(
        nix_stable, f"DEMO#{host} level=sources", store, substituters=(), builder=False
    )
    stored = {each.path for each in synced.outcomes if each.result == "stored"}
    native = {
        each.path: each for each in synced.plan.fetch if not isinstance(each.origin, BuilderOnly)
    }
    assert {each.origin.method for each in native.values()} == NATIVE
    assert {type(each.origin).__name__ for each in native.values()} == {
        "Download",
        "RestoreNar",
        "Unpack",
        "GitCheckout",
    }
    assert any(getattr(each.origin, "executable", False) for each in native.values())
    assert {each.system for each in native.values()} - {"builtin"} <= {system}
    assert native.keys() <= stored
    # Nix computes the content's hash and compares it with what it is registered as.
    run(nix_stable, "nix-store", "--verify", "--check-contents", store=store)
    for path, each in native.items():
        recursive = ["--recursive"] if each.mode == "nar" else []
        added = run(
            nix_stable,
            *("nix-store", *recursive, "--add-fixed", each.hash.algorithm, str(store.real(path))),
            store=bench.evaluation,
        )
        assert added.stdout.strip().endswith(path.name)


async def test_a_second_sync_fetches_nothing_and_keeps_the_same_generation(
    bench: Bench, nix_stable: Nix
) -> None:
    lines = "DEMO#laptop\nledger = DEMO#ledger level=sources"
    cache = bench.directory / "cache"
    first = await bench.sync(nix_stable, lines, cache)
    before = len(bench.upstream.requests)
    second = await bench.sync(nix_stable, lines, cache)
    assert len(first.kept) == 2
    assert not second.kept
    assert second.unchanged == first.kept
    assert {each.result for each in second.outcomes} == {"held"}
    assert not [each for each in bench.upstream.requests[before:] if "/nar/" in each]


async def test_what_was_built_is_kept_and_served_signed(bench: Bench, nix_stable: Nix) -> None:
    cache = bench.directory / "cache"
    synced = await bench.sync(nix_stable, "DEMO#laptop", cache, build=True)
    assert synced.is_complete
    client = bench.empty_store("client")
    (generation,) = synced.kept
    out = run(
        nix_stable, "nix-store", "--query", "--outputs", generation.root, store=bench.evaluation
    ).stdout.strip()
    assert out in generation.paths
    run(
        nix_stable,
        *("nix", "copy", "--no-check-sigs", "--from", f"file://{cache}"),
        *("--to", client.url, out),
        offline=True,
    )


@pytest.mark.parametrize("name", ["my cache", "100%20?"])
async def test_a_build_takes_what_it_needs_from_a_directory_of_any_name(
    bench: Bench, any_nix: Nix, name: str
) -> None:
    """The upstream is asked for every NAR once: the build has them from the directory."""
    asked = len(bench.upstream.requests)
    synced = await bench.sync(any_nix, "DEMO#laptop", bench.directory / name, build=True)
    assert synced.is_complete
    nars = [each for each in bench.upstream.requests[asked:] if "/cache/nar/" in each]
    assert nars
    assert len(nars) == len(set(nars))


async def test_the_runtime_level_of_a_built_system_is_its_closure(
    bench: Bench, nix_stable: Nix
) -> None:
    client = bench.empty_store("client")
    synced = await bench.sync(nix_stable, "DEMO#laptop level=runtime", client, build=True)
    (generation,) = synced.kept
    out = run(
        nix_stable, "nix-store", "--query", "--outputs", generation.root, store=client
    ).stdout.strip()
    closure = run(nix_stable, "nix-store", "--query", "--requisites", out, store=client)
    assert {*generation.paths} == {*closure.stdout.split()}
    assert generation.level == "runtime"
