"""Names of paths in a target's own package set, with real Nix that has no network."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from rig.evaluated_again import MADE, SYSTEM, flake
from rig.running import run

from mirror.formats.store_path import StorePath
from mirror.nix.evaluation.evaluate import evaluate
from mirror.nix.evaluation.package_names import attribute_names
from mirror.nix.stores import StoreLocation, open_store
from mirror.planning.lists.list_file import parse_list
from mirror.planning.names import Candidates

if TYPE_CHECKING:
    from pathlib import Path

    from rig.running import ScratchStore

    from mirror.nix.command import Nix

PACKAGES = f"""let {MADE}
  tool = made "tool-1" {{ outputs = [ "bin" "dev" ]; }};
  set = {{
    inherit tool;
    other_tool = made "other-tool" {{ }};
    "odd name" = made "odd" {{ }};
    thrown = throw "an alias that is gone";
    aborted = abort "this cannot be caught";
    unfree = tool // {{ outPath = throw "unfree"; }};
    nothing = null;
    inside.it = made "inside" {{ }};
  }};
in set"""


@pytest.fixture
def store(scratch_store: ScratchStore) -> ScratchStore:
    return scratch_store


async def named(
    nix: Nix,
    store: ScratchStore,
    directory: Path,
    line: str,
    *guesses: tuple[str, ...],
) -> dict[str, str]:
    """The names of all outputs of the packages, where each may be called as any guess says."""
    (directory / "packages.nix").write_text(PACKAGES)
    outputs = {
        attribute: StorePath.parse(
            run(
                nix,
                *("nix", "eval", "--impure", "--raw", "--expr"),
                f"(import {directory}/packages.nix).{attribute}.outPath",
                store=store,
            ).stdout
        )
        for attribute in ("tool.bin", "tool.dev", "other_tool", '"odd name"', "inside.it")
    }
    (target,) = parse_list(f"it = {line}", file="hosts.txt", directory=directory, shipped_edits={})
    location = StoreLocation.parse(store.url)
    await open_store(nix, location)
    isolated = await nix.isolated()
    evaluated = await evaluate(isolated, target, store=location, system=SYSTEM)
    found = await attribute_names(
        isolated,
        evaluated,
        {
            path: Candidates(guesses, "dev" if attribute == "tool.dev" else "out")
            for attribute, path in outputs.items()
        },
        store=location,
        system=SYSTEM,
    )
    assert found.keys() <= set(outputs.values())
    return {attribute: found[path] for attribute, path in outputs.items() if path in found}


GUESSES = (
    ("thrown",),
    ("unfree",),
    ("missing",),
    ("nothing",),
    ("nothing", "deeper"),
    ("tool",),
    ("other_tool",),
    ("odd name",),
    ("inside", "it"),
)
EXPECTED = {
    "tool.bin": "pkgs.tool",
    "tool.dev": "pkgs.tool.dev",
    "other_tool": "pkgs.other_tool",
    '"odd name"': 'pkgs."odd name"',
    "inside.it": "pkgs.inside.it",
}

OUTPUTS = {
    "it": "nixosConfigurations.it = rec { pkgs = import ./packages.nix; "
    "config.system.build.toplevel = pkgs.tool; };",
    "alice": "homeConfigurations.alice = rec { pkgs = import ./packages.nix; "
    "activationPackage = pkgs.tool; };",
    "tool": f"packages.{SYSTEM} = import ./packages.nix;",
    "shell": f"devShells.{SYSTEM}.shell = (import ./packages.nix).tool; "
    f"legacyPackages.{SYSTEM} = import ./packages.nix;",
}


@pytest.mark.parametrize("name", OUTPUTS)
async def test_in_a_flake_they_are_of_its_configuration_or_its_system(
    any_nix: Nix, store: ScratchStore, tmp_path: Path, name: str
) -> None:
    directory = flake(tmp_path / "flake", f"{{ outputs = {{ self }}: {{ {OUTPUTS[name]} }}; }}")
    found = await named(any_nix, store, directory, f".#{name}", *GUESSES)
    assert found == EXPECTED


async def test_a_file_has_those_of_its_own_package_set(
    any_nix: Nix, store: ScratchStore, tmp_path: Path
) -> None:
    (tmp_path / "it.nix").write_text(
        "{ x ? 1 }: rec { pkgs = import ./packages.nix; made = pkgs.tool; }"
    )
    (tmp_path / "call.nix").write_text(
        "{ x }: rec { pkgs = import ./packages.nix; made = pkgs.tool; }"
    )
    (tmp_path / "x.nix").write_text("{ x = 1; }")
    (tmp_path / "bare.nix").write_text("{ made = (import ./packages.nix).tool; }")
    assert await named(any_nix, store, tmp_path, "./it.nix#made", *GUESSES) == EXPECTED
    call = "./call.nix#made args=./x.nix"
    assert await named(any_nix, store, tmp_path, call, *GUESSES) == EXPECTED
    assert await named(any_nix, store, tmp_path, "./bare.nix#made", *GUESSES) == {}


async def test_an_error_that_cannot_be_caught_costs_its_own_name_only(
    any_nix: Nix, store: ScratchStore, tmp_path: Path
) -> None:
    (tmp_path / "it.nix").write_text("rec { pkgs = import ./packages.nix; made = pkgs.tool; }")
    guesses = (*GUESSES, ("aborted",))
    assert await named(any_nix, store, tmp_path, "./it.nix#made", *guesses) == EXPECTED


async def test_a_configuration_has_those_of_nixpkgs(
    any_nix: Nix, store: ScratchStore, tmp_path: Path
) -> None:
    nixpkgs = tmp_path / "nixpkgs"
    (nixpkgs / "nixos").mkdir(parents=True)
    (nixpkgs / "nixos/default.nix").write_text(
        "{ configuration ? <nixos-config> }: rec { pkgs = import ../../packages.nix; "
        "system = pkgs.tool // { inherit (import configuration) name; }; }"
    )
    (tmp_path / "configuration.nix").write_text('{ name = "laptop"; }')
    environment = {**any_nix.environment, "NIX_PATH": f"nixpkgs={nixpkgs}"}
    nix = dataclasses.replace(any_nix, environment=environment)
    assert await named(nix, store, tmp_path, "./configuration.nix", *GUESSES) == EXPECTED


async def test_more_guesses_than_fit_into_one_argument_are_looked_up_in_portions(
    any_nix: Nix, store: ScratchStore, tmp_path: Path
) -> None:
    (tmp_path / "it.nix").write_text("rec { pkgs = import ./packages.nix; made = pkgs.tool; }")
    many = [(f"no-such-package-of-the-set-{number}",) for number in range(5000)]
    assert await named(any_nix, store, tmp_path, "./it.nix#made", *many, *GUESSES) == EXPECTED
