"""Edits of targets, evaluated by real Nix: the shipped ones, one's own, and those that fail."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

import pytest
from rig.running import evaluate as nix_value
from rig.running import run

from mirror.nix.evaluation.edits import inapplicable
from mirror.nix.evaluation.evaluate import Evaluated, EvaluatedEdit, evaluate, evaluate_all
from mirror.nix.evaluation.evaluators import Evaluators
from mirror.nix.stores import StoreLocation, open_store
from mirror.planning.lists.list_file import parse_list
from mirror.shipped import shipped_edits

if TYPE_CHECKING:
    from pathlib import Path

    from rig.running import ScratchStore

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix

SYSTEM = "x86_64-linux"
TOPLEVEL = "config.system.build.toplevel"
# What the demo's hosts do not have.
OTHERS = {
    "nginx-vhost": "services.nginx",
    "ssh-key": "users.users.root.openssh",
    "static-ip": "networking.interfaces",
    "sysctl": "boot",
    "wireguard": "networking.wireguard",
}
SHIPPED = {
    ("package:debugger" if name == "package" else name): f'import {file} "debugger"'
    if name == "package"
    else str(file)
    for name, file in shipped_edits().items()
}
"""Each shipped edit as a list names it, and as an expression that is its module."""

APPLICABLE = sorted(SHIPPED.keys() - OTHERS.keys())

MADE = 'made = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; };'
FLAKE = f"""{{ outputs = {{ self }}: let
  {MADE}
  # As home-manager and nix-darwin were before an extended configuration had these attributes.
  home = name: {{ config.home.activationPackage = made name; }};
  darwin = name: {{ config.system.build.toplevel = made name; }};
  with' = kind: attribute: get: (kind "base") // {{
    ${{attribute}} = get (kind "base").config;
    extendModules = {{ modules }}: kind (import (builtins.head modules)).name;
  }};
in {{
  homeConfigurations.alice = with' home "activationPackage" (c: c.home.activationPackage);
  darwinConfigurations.mac = with' darwin "system" (c: c.system.build.toplevel);
  packages.x86_64-linux.tool = made "tool";
}}; }}
"""


@pytest.fixture
async def store(any_nix: Nix, scratch_store: ScratchStore) -> StoreLocation:
    location = StoreLocation.parse(scratch_store.url)
    await open_store(any_nix, location)
    return location


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    directory = tmp_path / "hosts"
    directory.mkdir()
    return directory


@pytest.fixture
def demo_nix(any_nix: Nix, upstream: Upstream) -> Nix:
    environment = {**any_nix.environment, "NIX_PATH": f"nixpkgs={upstream.nixpkgs}"}
    return dataclasses.replace(any_nix, environment=environment)


async def evaluated(nix: Nix, store: StoreLocation, directory: Path, line: str) -> Evaluated:
    (target,) = parse_list(
        f"it = {line}", file="hosts.txt", directory=directory, shipped_edits=shipped_edits()
    )
    (result,) = await evaluate_all(
        nix, [target], store=store, system=SYSTEM, evaluators=Evaluators(2)
    )
    assert isinstance(result, Evaluated), result
    assert [each.edit for each in result.edits] == list(target.edits)
    return result


async def one_edit(nix: Nix, store: StoreLocation, directory: Path, line: str) -> EvaluatedEdit:
    (edit,) = (await evaluated(nix, store, directory, line)).edits
    return edit


def edited_laptop(nix: Nix, upstream: Upstream, store: ScratchStore, module: str) -> object:
    """What Nix gives for the demo's laptop with a module, or with an attribute set of them."""
    laptop = f'(builtins.getFlake "path:{upstream.distribution}").nixosConfigurations.laptop'
    return nix_value(
        nix,
        f"builtins.mapAttrs (name: module: ({laptop}.extendModules {{ modules = [ module ]; }})"
        f".{TOPLEVEL}.drvPath) {module}",
        store=store,
    )


@pytest.mark.parametrize("way", ["flake", "configuration", "function"])
async def test_the_shipped_edits_of_the_demo_are_what_nix_makes_of_them(
    demo_nix: Nix, store: StoreLocation, scratch_store: ScratchStore, upstream: Upstream,
    hosts: Path, way: str,
) -> None:  # fmt: skip
    names = ",".join(SHIPPED)
    line = {
        "flake": f"{upstream.distribution}#laptop edits={names}",
        "configuration": f"{upstream.distribution}/hosts/laptop.nix edits={names}",
        "function": f"{upstream.distribution}/default.nix#nixosConfigurations.laptop.{TOPLEVEL}"
        f" edits={','.join(f'./{name}.nix' for name in APPLICABLE)}",
    }[way]
    for name in APPLICABLE:
        (hosts / f"{name}.nix").write_text(f"{{ edits = [ ({SHIPPED[name]}) ]; }}")
    result = await evaluated(demo_nix, store, hosts, line)

    modules = " ".join(f"{json.dumps(name)} = {SHIPPED[name]};" for name in APPLICABLE)
    expected = edited_laptop(demo_nix, upstream, scratch_store, f"{{ {modules} }}")
    found = {each.edit.name: each.root for each in result.edits if each.root is not None}
    assert found == expected, [each.problem for each in result.edits]
    assert len({result.root, *found.values()}) == len(APPLICABLE) + 1
    assert all(store.real(root).is_file() for root in found.values())
    left = {each.edit.name: each for each in result.edits if each.root is None}
    assert left.keys() == (set() if way == "function" else OTHERS.keys())
    for name, edit in left.items():
        assert not edit.is_applicable
        assert edit.problem == f"the configuration has no option {OTHERS[name]}"


async def test_each_edited_system_of_the_demo_builds_with_tools_of_its_own(
    demo_nix: Nix, store: StoreLocation, scratch_store: ScratchStore, upstream: Upstream
) -> None:
    line = f"{upstream.distribution}#laptop edits={','.join(APPLICABLE)}"
    result = await evaluated(demo_nix, store, upstream.distribution, line)
    roots = [each.root for each in result.edits if each.root is not None]
    caches = (
        f"substituters = {upstream.cache_url}",
        f"trusted-public-keys = {upstream.public_key}",
    )
    run(demo_nix, "nix-store", "--realise", *roots, store=scratch_store, config=caches)
    tools = {path.name[33:] for path in scratch_store.real("/nix/store").glob("*-check-[0-9.]*")}
    assert {"firewall-check-1.0", "password-check-1.0", "script-check-1.0"} <= tools
    assert {"dnsmasq-check-2.90", "user-check-1.0", "unit-check-1.0"} <= tools


async def test_an_own_edit_may_read_what_is_beside_and_below_it(
    demo_nix: Nix,
    store: StoreLocation,
    scratch_store: ScratchStore,
    upstream: Upstream,
    hosts: Path,
) -> None:
    (hosts / "deep").mkdir()
    (hosts / "mine.nix").write_text("{ imports = [ deep/names.nix ./ports.nix ]; }")
    (hosts / "deep/names.nix").write_text('{ networking.hosts."192.0.2.9" = [ "mine" ]; }')
    (hosts / "ports.nix").write_text("{ networking.firewall.allowedTCPPorts = [ 8001 ]; }")
    for name in ("flake", "configuration"):
        target = {"flake": "#laptop", "configuration": "/hosts/laptop.nix"}[name]
        line = f"{upstream.distribution}{target} edits=./mine.nix"
        edit = await one_edit(demo_nix, store, hosts, line)
        assert edit.problem is None
        module = f"{{ mine = {hosts}/mine.nix; }}"
        assert edited_laptop(demo_nix, upstream, scratch_store, module) == {"mine": edit.root}

    (hosts / "deep/up.nix").write_text("{ imports = [ ../ports.nix ]; }")
    line = f"{upstream.distribution}#laptop edits=deep/up.nix"
    above = await one_edit(demo_nix, store, hosts, line)
    assert above.is_applicable
    assert "files of its own directory and below it" in (above.problem or "")


async def test_a_shell_s_path_in_an_edit_is_no_reason_to_read_its_directory(
    demo_nix: Nix, store: StoreLocation, upstream: Upstream, hosts: Path
) -> None:
    os.mkfifo(hosts / "pipe")
    (hosts / "mine.nix").write_text('{ systemd.services.mine.script = "exec $HOME/bin/mine"; }')
    edit = await one_edit(demo_nix, store, hosts, f"{upstream.distribution}#laptop edits=mine.nix")
    assert edit.problem is None


async def test_an_edit_that_fails_is_a_problem_of_its_own(
    demo_nix: Nix, store: StoreLocation, upstream: Upstream, hosts: Path
) -> None:
    (hosts / "syntax.nix").write_text("{ networking.hosts = ; }")
    (hosts / "thrown.nix").write_text('{ networking.hostName = throw "not this name"; }')
    (hosts / "good.nix").write_text('{ networking.hostName = "good"; }')
    edits = "./syntax.nix,./thrown.nix,./absent.nix,package:no.such,./good.nix"
    words = ("unexpected ';'", "not this name", "absent.nix", "'no' missing")
    for target in ("#laptop", "/hosts/laptop.nix"):
        line = f"{upstream.distribution}{target} edits={edits}"
        *bad, good = (await evaluated(demo_nix, store, hosts, line)).edits
        assert good.root is not None
        for edit, said in zip(bad, words, strict=True):
            assert (edit.root, edit.is_applicable) == (None, True)
            assert said in (edit.problem or ""), edit


async def test_what_is_no_configuration_has_no_edits(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    (hosts / "flake.nix").write_text(FLAKE)
    edit = await one_edit(any_nix, store, hosts, ".#tool edits=hosts")
    assert not edit.is_applicable
    assert edit.problem == (
        "packages.x86_64-linux.tool is not part of a configuration with extendModules"
    )


@pytest.mark.parametrize("name", ["alice", "mac"])
async def test_home_and_darwin_configurations_are_extended(
    any_nix: Nix, store: StoreLocation, hosts: Path, name: str
) -> None:
    (hosts / "flake.nix").write_text(FLAKE)
    (hosts / "other.nix").write_text('{ name = "edited"; }')
    result = await evaluated(any_nix, store, hosts, f".#{name} edits=./other.nix")
    assert result.root.name == "base.drv"
    (edit,) = result.edits
    assert edit.root is not None, edit
    assert edit.root.name == "edited.drv"


async def test_a_part_of_a_configuration_is_edited_as_it_is_named(
    demo_nix: Nix, store: StoreLocation, upstream: Upstream
) -> None:
    line = ".#nixosConfigurations.laptop.config.system.build.etc edits=hosts"
    result = await evaluated(demo_nix, store, upstream.distribution, line)
    (edit,) = result.edits
    assert edit.root is not None
    assert edit.root.name == result.root.name == "etc.drv"
    assert edit.root != result.root


async def test_an_edit_of_a_function_is_merged_over_its_arguments(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    (hosts / "function.nix").write_text(
        f'{{ name, end ? "" }}: let {MADE} in {{ it = made "${{name}}${{end}}"; }}'
    )
    (hosts / "plain.nix").write_text(f'let {MADE} in {{ it = made "plain"; }}')
    (hosts / "args.nix").write_text('{ name = "given"; }')
    (hosts / "end.nix").write_text('{ end = "-end"; }')
    (hosts / "both.nix").write_text('{ name = "other"; end = "-end"; }')
    (hosts / "wrong.nix").write_text('{ nmae = "given"; }')
    (hosts / "module.nix").write_text("{ config, ... }: { }")
    line = "./function.nix#it args=args.nix edits=./end.nix,./both.nix,./wrong.nix,./module.nix"
    result = await evaluated(any_nix, store, hosts, line)
    assert result.root.name == "given.drv"
    end, both, wrong, module = result.edits
    assert end.root is not None
    assert end.root.name == "given-end.drv"
    assert both.root is not None
    assert both.root.name == "other-end.drv"
    assert not wrong.is_applicable
    assert wrong.problem == "the file takes no argument nmae"
    assert module.is_applicable
    assert "a function" in (module.problem or "")
    plain = await one_edit(any_nix, store, hosts, "./plain.nix#it edits=./end.nix")
    assert not plain.is_applicable
    assert "not a function" in (plain.problem or "")


async def test_one_target_can_be_evaluated_without_others(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    (hosts / "flake.nix").write_text(FLAKE)
    (target,) = parse_list(
        ".#tool edits=hosts", file="l", directory=hosts, shipped_edits=shipped_edits()
    )
    result = await evaluate(any_nix, target, store=store, system=SYSTEM)
    assert len(result.edits) == 1


@pytest.mark.parametrize(
    "said",
    [
        "error: The option `a.b.\"c d\"' does not exist. Definition values:\n- In `/x.nix': 1",
        "error: The option `a.b.\"c d\"' defined in `/x.nix' does not exist.",
        "error: The option 'a.b.\"c d\"' does not exist. Definition values:",
    ],
)
def test_nixos_of_every_age_says_that_an_option_is_not_there(said: str) -> None:
    """As it has been said since 2020, before, and with the quotes that it could have."""
    reason = 'the configuration has no option a.b."c d"'
    assert inapplicable(said, to_function=False) == reason
    assert inapplicable(said, to_function=True) is None


def test_an_option_that_was_removed_does_not_apply() -> None:
    said = (
        "error:\nFailed assertions:\n- The option definition `services.dnsmasq.extraConfig' in "
        "`/x.nix' no longer has any effect; please remove it."
    )
    reason = "the option services.dnsmasq.extraConfig has been removed"
    assert inapplicable(said, to_function=False) == reason
