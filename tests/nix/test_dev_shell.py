"""What `nix develop` needs: found without building anything, and enough to enter the shell."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from rig.dev_shells import shell_flake
from rig.evaluated_again import (
    MADE,
    evaluate_offline,
    feed,
    flake,
    lock,
    needs_of,
    nix_for_builds,
    with_new_home,
)
from rig.running import ScratchStore, run

from mirror.nix.derivations import read_closure
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix


@pytest.fixture
async def nix(any_nix: Nix, tmp_path: Path) -> Nix:
    return await nix_for_builds(any_nix, tmp_path)


@pytest.fixture
def store(scratch_store: ScratchStore) -> StoreLocation:
    return StoreLocation.parse(scratch_store.url)


def outputs(store: StoreLocation, *derivations: StorePath) -> list[StorePath]:
    return [
        output.path
        for derivation in read_closure(store, derivations).values()
        if derivation.path in derivations
        for output in derivation.outputs.values()
        if output.path
    ]


async def test_a_dev_shell_is_entered_offline_with_what_it_needs(
    nix: Nix,
    store: StoreLocation,
    scratch_store: ScratchStore,
    tmp_path: Path,
    elsewhere: ScratchStore,
) -> None:
    top, nixpkgs = shell_flake(tmp_path)
    lock(nix, top, scratch_store)
    evaluated, needs = await needs_of(nix, store, top, "'path:.#default'")
    assert not needs.notices
    names = {path.name: path for path in needs.derivations}
    assert set(names) == {"shell-env.drv", "bash-interactive.drv"}
    assert needs.derivations <= needs.paths
    made = outputs(store, *read_closure(store, needs.derivations))
    assert made
    assert not any(store.real(path).exists() for path in made), "something was built"

    # What a plan makes of the derivations: what one is built from, and all of the other's output.
    environment = read_closure(store, [names["shell-env.drv"]])[names["shell-env.drv"]]
    bash = outputs(store, names["bash-interactive.drv"])
    wanted = [*outputs(store, *environment.input_derivations), *bash]
    wishes = [*environment.input_derivations, names["bash-interactive.drv"]]
    run(nix, "nix-store", "--realise", *wishes, store=scratch_store)
    feed(nix, elsewhere, store, needs)
    run(nix, "nix", "copy", "--no-check-sigs", "--from", store.url, "--to", elsewhere.url, *wanted)
    shutil.rmtree(nixpkgs)
    fresh = with_new_home(nix, tmp_path / "second-home")
    attribute = f"path:{top}#devShells.x86_64-linux.default"
    assert evaluate_offline(fresh, elsewhere, f"{attribute}.drvPath") == evaluated.root
    script = "echo $GREETING $FROM_SETUP"
    entered = run(
        fresh,
        *("nix", "develop", f"path:{top}", "--command", "sh", "-c", script),
        store=elsewhere,
        offline=True,
    )
    assert entered.stdout == "hello prepared\n"
    built = [line for line in entered.stderr.splitlines() if line.startswith("building")]
    assert all("-shell-env.drv" in line for line in built)
    # Also its interactive shell was there, which Nix looks for behind the new environment's back.
    assert "bash-interactive" not in entered.stderr


async def test_a_shell_that_nix_cannot_enter_is_told(
    nix: Nix, store: StoreLocation, tmp_path: Path
) -> None:
    """Its builder is no bash, and its flake has no nixpkgs."""
    top = flake(
        tmp_path / "top",
        f"""{{ outputs = {{ self }}: let {MADE} in {{
          devShells.x86_64-linux.default = made "shell" {{ }};
        }}; }}""",
    )
    _, needs = await needs_of(nix, store, top, "'path:.#default'")
    assert not needs.derivations
    cannot, without = needs.notices
    assert cannot.startswith("`nix develop` cannot enter it: ")
    assert "'bash'" in cannot
    assert without.startswith("its flake has no input nixpkgs")


async def test_import_from_derivation_in_a_dev_shell_is_no_obstacle(
    nix: Nix, store: StoreLocation, scratch_store: ScratchStore, tmp_path: Path
) -> None:
    top, _ = shell_flake(tmp_path)
    text = (top / "flake.nix").read_text()
    generated = """import (derivation {
      name = "generated"; system = "x86_64-linux"; builder = "/bin/sh";
      args = [ "-c" "echo '\\"hello\\"' > $out" ];
    })"""
    (top / "flake.nix").write_text(text.replace('"hello"', generated))
    lock(nix, top, scratch_store)
    _, needs = await needs_of(nix, store, top, "'path:.#default'")
    assert not needs.notices
    assert "generated" in {path.name for path in needs.paths}
    assert {path.name for path in needs.derivations} == {"shell-env.drv", "bash-interactive.drv"}
