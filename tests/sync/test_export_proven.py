"""What ``export`` prints, as real Nix reads it, and that a system can be built with it alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from rig.running import run

from mirror.planning.export import closure_info_lines
from mirror.sync.export import export

if TYPE_CHECKING:
    from pathlib import Path

    from rig.bench import Bench
    from rig.running import ScratchStore

    from mirror.formats.store_path import StorePath
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


@pytest.mark.timeout(600)
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


@pytest.mark.timeout(600)
async def test_closure_info_evaluates_to_exactly_the_root_paths(
    bench: Bench, any_nix: Nix, tmp_path: Path
) -> None:
    found = await exported(bench, any_nix, LAPTOP)
    roots = found.export.roots
    assert any(name.endswith(".dev") for name in found.names.values())
    client = bench.empty_store("client")
    await fill(bench, any_nix, LAPTOP, roots, client)
    file = tmp_path / "roots.nix"
    file.write_text("\n".join(closure_info_lines(found.export, found.names)))
    packages = f"(import {bench.upstream.distribution}/default.nix {{ }}).pkgs"
    expression = f'map (root: "${{root}}") (import {file} {packages})'
    printed = run(
        any_nix,
        *("nix-instantiate", "--eval", "--strict", "--json", "--expr", expression),
        store=client,
    ).stdout
    value = json.loads(printed)
    assert sorted(value) == list(roots)


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
