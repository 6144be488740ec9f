"""What ``export`` prints, as real Nix reads it, and that a system can be built with it alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.running import run

from mirror.destinations import CacheDirectory
from mirror.formats.store_path import StorePath
from mirror.planning.hermetic import closure_info_lines
from mirror.sync.export import export
from mirror.sync.offline.rehearse import rehearse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rig.bench import Bench
    from rig.running import ScratchStore

    from mirror.nix.command import Nix
    from mirror.sync.export import Exported

LAPTOP = "laptop = DEMO#laptop"


async def exported(bench: Bench, nix: Nix, lines: str) -> Exported:
    async with bench.workshop(nix) as workshop:
        found = await export(bench.targets(lines), workshop, bench.recorder, named=True)
    assert not found.failures
    assert not found.export.plan.unobtainable
    return found


async def fill(
    bench: Bench, nix: Nix, lines: str, paths: tuple[StorePath, ...], store: ScratchStore
) -> None:
    """Copy the closure of paths from a synced cache directory into an empty store."""
    cache = bench.directory / "cache"
    assert (await bench.sync(nix, lines, cache)).is_complete
    run(
        nix,
        *("nix", "copy", "--no-check-sigs", "--from", f"file://{cache}", "--to", store.url),
        *paths,
    )


@pytest.mark.timeout(1800)
async def test_the_root_paths_alone_make_the_system_build_offline(
    bench: Bench, any_nix: Nix
) -> None:
    found = await exported(bench, any_nix, LAPTOP)
    roots = found.export.roots
    client = bench.empty_store("client")
    await fill(bench, any_nix, LAPTOP, roots, client)
    valid = run(any_nix, "nix", "path-info", "--all", store=client).stdout.split()
    assert sorted(valid) == list(found.export.references), "the closure of the roots is the paths"
    (target,) = found.export.plan.targets
    copy = ("nix", "copy", "--derivation", "--no-check-sigs")
    run(any_nix, *copy, "--from", bench.evaluation.url, "--to", client.url, target.root)
    run(
        any_nix,
        *("nix-store", "--realise", target.root, "--option", "substitute", "false"),
        store=client,
        offline=True,
    )


def evaluated(bench: Bench, nix: Nix, found: Exported, client: ScratchStore) -> list[StorePath]:
    """What real Nix takes the printed expression for, pasted into a file and into a flake."""
    pasted = "\n".join(closure_info_lines(found.export, found.names))
    roots = 'map (root: "${root}") (builtins.filter builtins.hasContext (map toString listed))'
    listed = f"let listed = {pasted}\n; in assert {roots} == map toString listed; {roots}"
    packages = f"(import {bench.upstream.distribution}/default.nix {{ }}).pkgs"
    expression = f"let pkgs = {packages}; in {listed}"
    of_file = ("nix-instantiate", "--eval", "--strict", "--json", "--expr", expression)
    printed = json.loads(run(nix, *of_file, store=client).stdout)
    flake = bench.directory / "pasted"
    flake.mkdir()
    (flake / "flake.nix").write_text(
        f'{{ inputs.laptops.url = "path:{bench.upstream.distribution}"; outputs = inputs: '
        f"let pkgs = inputs.laptops.nixosConfigurations.laptop.pkgs; in {{ it = {listed}; }}; }}"
    )
    of_flake = ("nix", "eval", "--json", "--no-write-lock-file", f"path:{flake}#it")
    assert json.loads(run(nix, *of_flake, store=client).stdout) == printed
    return [StorePath.parse(path) for path in printed]


async def rehearsed_with(
    bench: Bench, nix: Nix, lines: str, paths: Iterable[StorePath], root: StorePath
) -> dict[str | None, bool]:
    """Rehearse from a cache that has the paths of the synced one, and no others."""
    others = bench.directory / "others"
    shutil.copytree(bench.directory / "cache", others)
    kept = tuple(sorted(paths))
    narinfos = {f"{path.hash_part}.narinfo" for path in kept}
    for file in others.glob("*.narinfo"):
        if file.name not in narinfos:
            file.unlink()
    async with CacheDirectory.open(others) as cache:
        for each in await cache.generations():
            await cache.keep(replace(each, root=root, paths=kept))
        found = await rehearse(
            bench.targets(lines), nix, bench.recorder, cache, store=bench.evaluation.url
        )
    shutil.rmtree(others)
    return {each.edit: each.has_passed for each in found}


@pytest.mark.timeout(1800)
async def test_closure_info_evaluates_to_paths_that_make_the_rehearsal_pass(
    bench: Bench, any_nix: Nix
) -> None:
    lines = f"{LAPTOP} edits=hosts,dnsmasq"
    found = await exported(bench, any_nix, lines)
    assert any(name.endswith(".dev") for name in found.names.values())
    client = bench.empty_store("client")
    await fill(bench, any_nix, lines, found.export.roots, client)
    roots = evaluated(bench, any_nix, found, client)
    assert sorted(roots) == list(found.export.roots)
    query = ("nix-store", "--query", "--requisites", *roots)
    closure = {StorePath.parse(path) for path in run(any_nix, *query, store=client).stdout.split()}
    root = found.export.plan.targets[0].root
    passed = await rehearsed_with(bench, any_nix, lines, closure, root)
    assert passed == {None: True, "hosts": True, "dnsmasq": True}
    # What the edit takes besides is one of them, and nothing else stands in for it.
    (check,) = [path for path in closure if path.name == "dnsmasq-check-2.90"]
    passed = await rehearsed_with(bench, any_nix, lines, closure - {check}, root)
    assert passed == {None: True, "hosts": True, "dnsmasq": False}


async def test_names_are_those_of_the_targets_own_packages(bench: Bench, any_nix: Nix) -> None:
    found = await exported(bench, any_nix, "pi = DEMO#pi")
    assert found.names
    packages = (
        f'(import {bench.upstream.distribution}/default.nix {{ system = "aarch64-linux"; }}).pkgs'
    )
    lines = "".join(f'"{path}" = "${{{name}}}";' for path, name in found.names.items())
    printed = run(
        any_nix,
        *("nix-instantiate", "--eval", "--strict", "--json"),
        *("--expr", f"let pkgs = {packages}; in {{ {lines} }}"),
        store=bench.evaluation,
    ).stdout
    value = json.loads(printed)
    assert all(path == name for path, name in value.items())
