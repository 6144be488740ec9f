"""The demo's distribution and its upstream, judged by real Nix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.running import ScratchStore, dry_run, evaluate, instantiate, run

if TYPE_CHECKING:
    from rig.generated import Generated

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix

HOSTS = ("laptop", "pi")


def toplevel(host: str) -> str:
    return f"nixosConfigurations.{host}.config.system.build.toplevel"


def names(paths: frozenset[str]) -> set[str]:
    """Names without hash, version and extension."""
    return {Path(path).name[33:].removesuffix(".drv") for path in paths}


@pytest.mark.parametrize("host", HOSTS)
def test_both_versions_evaluate_a_host_to_the_same_derivation(
    nix_stable: Nix, nix_newest: Nix, upstream: Upstream, tmp_path: Path, host: str
) -> None:
    derivations = {
        instantiate(
            nix,
            upstream.distribution,
            toplevel(host),
            store=ScratchStore(tmp_path / nix.version_text),
        )
        for nix in (nix_stable, nix_newest)
    }
    assert len(derivations) == 1


def test_flake_file_and_configuration_give_the_same_derivation(
    any_nix: Nix, upstream: Upstream, scratch_store: ScratchStore
) -> None:
    from_file = instantiate(any_nix, upstream.distribution, toplevel("laptop"), store=scratch_store)
    flake = f"path:{upstream.distribution}#{toplevel('laptop')}.drvPath"
    from_flake = run(any_nix, "nix", "eval", "--raw", flake, store=scratch_store).stdout
    from_configuration = run(
        any_nix,
        *("nix-instantiate", "<nixpkgs/nixos>", "-A", "system"),
        *("-I", f"nixos-config={upstream.distribution}/hosts/laptop.nix"),
        *("-I", f"nixpkgs={upstream.nixpkgs}"),
        store=scratch_store,
    ).stdout.split()[0]
    assert from_file == from_flake == from_configuration


@pytest.mark.parametrize("host", HOSTS)
def test_a_dry_run_fetches_packages_and_builds_what_is_the_hosts_own(
    any_nix: Nix, upstream: Upstream, scratch_store: ScratchStore, host: str
) -> None:
    derivation = instantiate(any_nix, upstream.distribution, toplevel(host), store=scratch_store)
    would = dry_run(any_nix, derivation, store=scratch_store, caches=[upstream.cache_url])
    assert {f"nixos-system-{host}", "etc", "hosts", "system-path", "initrd"} <= names(would.build)
    assert {"printer-driver-0.3", "firmware.bin", "blocklist", "fonts"} <= names(would.build)
    assert {"compiler-3.1", "make-etc-1.0", "libbase-1.2", "curl-8.5"} <= names(would.substitute)
    assert "dnsmasq-2.90" not in names(would.substitute)
    assert not would.unknown


def test_the_laptop_is_built_from_the_upstream(
    any_nix: Nix, upstream: Upstream, scratch_store: ScratchStore
) -> None:
    derivation = instantiate(
        any_nix, upstream.distribution, toplevel("laptop"), store=scratch_store
    )
    built = run(
        any_nix,
        *("nix-store", "--realise", derivation),
        store=scratch_store,
        config=(
            f"substituters = {upstream.cache_url}",
            f"trusted-public-keys = {upstream.public_key}",
        ),
    ).stdout.strip()
    hosts = scratch_store.real(built) / "name"
    assert hosts.read_text() == "laptop\n"


def test_an_edit_pulls_in_a_package_and_a_tool_of_its_own(
    any_nix: Nix, upstream: Upstream, scratch_store: ScratchStore
) -> None:
    flake = f'(builtins.getFlake "path:{upstream.distribution}").nixosConfigurations.laptop'
    edited = evaluate(
        any_nix,
        f"({flake}.extendModules {{ modules = [ {{ services.dnsmasq.enable = true; }} ]; }})"
        ".config.system.build.toplevel.drvPath",
        store=scratch_store,
    )
    would = dry_run(any_nix, edited, store=scratch_store, caches=[upstream.cache_url])
    assert "dnsmasq.conf" in names(would.build)
    assert {"dnsmasq-2.90", "dnsmasq-check-2.90", "libresolve-4.4"} <= names(would.substitute)


@pytest.mark.thorough
def test_the_generated_system_is_large_and_partly_cached(
    any_nix: Nix, generated: Generated, scratch_store: ScratchStore
) -> None:
    derivation = instantiate(any_nix, generated.file, generated.attribute, store=scratch_store)
    would = dry_run(any_nix, derivation, store=scratch_store, caches=generated.caches)
    assert len(list(scratch_store.real("/nix/store").glob("*.drv"))) > 2000
    assert len(would.build) > 500
    assert len(would.substitute) > 500
    assert not would.unknown
    assert any(name.startswith("archive-") for name in names(would.build))
    assert any(name.startswith("archive-") for name in names(would.substitute))
