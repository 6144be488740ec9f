"""What is claimed of plans, edits and our own Nix code, on a real NixOS."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final

import pytest
from rig.bench import Recorder
from rig.nixes import PROJECT
from rig.real_nixos import CROSS, EDITS, HERE, LAPTOP, register, with_nixpkgs
from rig.running import dry_run, evaluate, run

from mirror.destinations import CacheDirectory
from mirror.planning.fetchers.fixed_outputs import BuilderOnly
from mirror.planning.lists.list_file import parse_list
from mirror.shipped import shipped_edits
from mirror.sync.run import plan
from mirror.sync.workshop import open_workshop

if TYPE_CHECKING:
    from pathlib import Path

    from rig.real_nixos import RealNixos
    from rig.running import ScratchStore

    from mirror.nix.command import Nix
    from mirror.planning.plan import Plan

_OURS: Final = ("flake.nix", "package.nix", "pyproject.toml", "README.md", "LICENSE")
_SOURCES: Final = ("mirror", "lists", "nix", "tests")

pytestmark = pytest.mark.timeout(14_400)


def test_every_shipped_edit_applies(real: RealNixos) -> None:
    edits = real.evaluated[LAPTOP].edits
    assert [each.edit.name for each in edits] == list(EDITS)
    assert {each.edit.name: each.problem for each in edits if each.problem} == {}
    assert len({each.root for each in edits} | {real.roots[LAPTOP]}) == len(EDITS) + 1


async def planned(real: RealNixos, name: str, directory: Path) -> Plan:
    """The plan of a root derivation, with nothing there yet."""
    targets = parse_list(
        f"{name.replace(':', '-')} = {real.roots[name]}",
        file="real.txt",
        directory=HERE,
        shipped_edits=shipped_edits(),
    )
    async with (
        open_workshop(real.nix, real.options, Recorder()) as workshop,
        CacheDirectory.open(directory / "cache", exclusive=False) as destination,
    ):
        result = await plan(targets, workshop, destination, Recorder())
    assert not result.failures
    return result.plan


@pytest.mark.parametrize("name", [LAPTOP, *EDITS, CROSS])
async def test_the_plan_is_nix_own(
    real: RealNixos, tmp_path: Path, scratch_store: ScratchStore, name: str
) -> None:
    made = await planned(real, name, tmp_path)
    root = real.roots[name]
    native = [each.path for each in made.fetch if not isinstance(each.origin, BuilderOnly)]
    built = {each.derivation for each in made.fetch if isinstance(each.origin, BuilderOnly)}
    store = real.store
    if native:
        # Nix has no native fetches, so that these are there for it; a dry run reads none of them.
        copied = ("nix", "copy", "--derivation", "--no-check-sigs", "--from", real.store.url)
        run(real.nix, *copied, "--to", scratch_store.url, root)
        register(real.nix, native, store=scratch_store)
        store = scratch_store
    said = dry_run(real.nix, root, store=store, caches=[real.cache.url])
    assert {*made.build, *built} == said.build
    assert {each.path for each in made.substitute} == said.substitute
    assert not said.unknown
    assert not made.unobtainable
    sys.stdout.write(
        f"{name}: {len(real.graph.reachable([root]))} derivations, {len(made.build)} to build, "
        f"{len(made.substitute)} to substitute, {len(made.fetch)} to fetch\n"
    )


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """The project as a flake has it: what is not in its repository is left out."""
    directory = tmp_path / "prefetch"
    directory.mkdir()
    for name in _OURS:
        shutil.copy(PROJECT / name, directory)
    for name in _SOURCES:
        shutil.copytree(
            PROJECT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return directory


def test_our_package_and_module_evaluate(
    nix_newest: Nix, ours: Path, scratch_store: ScratchStore
) -> None:
    expression = f"""
    let
      system = import <nixpkgs/nixos> {{
        configuration = {{
          imports = [ {HERE}/laptop.nix {ours}/nix/module ];
          services.prefetch = {{
            enable = true;
            targets.laptop = "/etc/nixos#laptop edits=hosts,wifi";
            prune.enable = true;
            serve = {{ enable = true; addresses = [ "0.0.0.0" ]; openFirewall = true; }};
          }};
        }};
      }};
      command = name: system.config.systemd.services.${{name}}.serviceConfig.ExecStart;
    in {{
      package = (system.pkgs.callPackage {ours}/package.nix {{ }}).drvPath;
      system = system.system.drvPath;
      commands = map command [ "prefetch-sync" "prefetch-prune" "prefetch-serve" ];
      ports = system.config.networking.firewall.allowedTCPPorts;
    }}
    """
    found = evaluate(with_nixpkgs(nix_newest), expression, store=scratch_store)
    assert "-prefetch-" in found["package"]
    assert found["system"].endswith(".drv")
    sync_command, prune, serve = found["commands"]
    assert "/bin/prefetch sync " in sync_command
    assert "/bin/prefetch prune " in prune
    assert "/bin/prefetch serve " in serve
    assert 8080 in found["ports"]
