"""Every kind of fetch is in the demo's systems, and is recognised for what it is."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from rig.running import instantiate, run

from mirror.formats.aterm import parse_derivation
from mirror.formats.store_path import StorePath
from mirror.planning.fetchers.fixed_outputs import (
    BuilderOnly,
    Download,
    FixedOutput,
    GitCheckout,
    RestoreNar,
    Unpack,
)
from mirror.planning.fetchers.recognise import fixed_output

if TYPE_CHECKING:
    from pathlib import Path

    from rig.running import ScratchStore

    from mirror.demo.upstream import Upstream
    from mirror.formats.derivation import Derivation
    from mirror.nix.command import Nix

KINDS = {
    "certificates.pem": Download,
    "banner.sh": Download,
    "wallpaper.img": Download,
    "probe": Download,
    "firmware.bin": Download,
    "microcode": RestoreNar,
    "zones": Unpack,
    "timetable": Unpack,
    "fonts": Unpack,
    "blocklist": GitCheckout,
    "bootstrap-tools": RestoreNar,
    "wpa-2.10.tar.gz": Download,
    "dnsmasq-2.90.tar.gz": Download,
    "ledger-3.3-vendored": BuilderOnly,
}


def closure(nix: Nix, derivation: str, store: ScratchStore) -> dict[StorePath, Derivation]:
    listed = run(nix, "nix-store", "--query", "--requisites", derivation, store=store).stdout
    paths = [StorePath.parse(line) for line in listed.split() if line.endswith(".drv")]
    return {path: parse_derivation(path, store.real(path).read_bytes()) for path in paths}


@pytest.mark.parametrize(("host", "system"), [("laptop", "x86_64-linux"), ("pi", "aarch64-linux")])
def test_every_kind_of_fetch_is_recognised(
    nix_stable: Nix, upstream: Upstream, scratch_store: ScratchStore, host: str, system: str
) -> None:
    attribute = f"nixosConfigurations.{host}.config.system.build.toplevel"
    roots = [
        instantiate(nix_stable, upstream.distribution, name, store=scratch_store)
        for name in (
            attribute,
            *(f"packages.{system}.{each}" for each in ("ledger", "dnsmasq", "wpa")),
        )
    ]
    derivations: dict[StorePath, Derivation] = {}
    for root in roots:
        derivations |= closure(nix_stable, root, scratch_store)
    outputs: dict[str, FixedOutput] = {}
    for derivation in derivations.values():
        if any(output.is_fixed for output in derivation.outputs.values()):
            output = fixed_output(derivation, derivations.get)
            outputs[output.path.name] = output
    found = {name: type(output.origin) for name, output in outputs.items()}
    assert {name: found[name] for name in KINDS} == KINDS
    others = {name for name, kind in found.items() if kind is BuilderOnly}
    assert others == {"ledger-3.3-vendored"}

    fonts, zones = outputs["fonts"].origin, outputs["zones"].origin
    assert isinstance(fonts, Unpack)
    assert not fonts.strip_root
    assert isinstance(zones, Unpack)
    assert zones.strip_root
    firmware = outputs["firmware.bin"]
    assert firmware.hashed_mirrors == (f"{upstream.origin_url}/hashed",)
    assert firmware.hashed_mirrors_first
    assert outputs["dnsmasq-2.90.tar.gz"].origin.urls == (
        f"{upstream.origin_url}/dead/dnsmasq-2.90.tar.gz",
        f"{upstream.origin_url}/files/dnsmasq-2.90.tar.gz",
    )
    banner = outputs["banner.sh"].origin
    assert isinstance(banner, Download)
    assert banner.executable


def test_each_fetchers_own_builder_gets_it_through_nix(
    any_nix: Nix, upstream: Upstream, scratch_store: ScratchStore
) -> None:
    """Nothing is substituted, so each is built from the bootstrap tools up."""
    files = ("banner", "certificates", "firmware", "zones", "fonts", "blocklist", "probe")
    built = run(
        any_nix,
        *("nix-build", "--no-out-link", str(upstream.distribution), "-A", "pkgs.ledger.vendored"),
        *(word for name in files for word in ("-A", f"pkgs.files.{name}")),
        store=scratch_store,
    ).stdout.split()
    names = [StorePath.parse(path).name for path in built]
    assert sorted(names) == sorted(
        [
            *("banner.sh", "blocklist", "certificates.pem", "firmware.bin", "fonts"),
            *("ledger-3.3-vendored", "probe", "zones"),
        ]
    )


def test_the_origins_repository_can_be_cloned(upstream: Upstream, tmp_path: Path) -> None:
    git = shutil.which("git")
    assert git is not None
    url = f"{upstream.origin_url}/git/blocklist.git"
    subprocess.run([git, "clone", "--quiet", url, tmp_path / "clone"], check=True)
    assert (tmp_path / "clone/hosts").read_text() == "0.0.0.0 tracker.example\n"
