"""Building and substituting with real Nix, and what it says when that fails."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from rig.running import ScratchStore, run

from mirror.demo.busybox import find_busybox
from mirror.errors import IntegrityError, SourceError
from mirror.formats.store_path import StorePath
from mirror.nix.realise import realise
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.nix.command import Nix

MADE = """
let made = name: args: attributes: derivation ({
  inherit name; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" args ];
} // attributes);
in {
  good = made "good" "echo building; echo good > $out; echo dev > $dev" {
    outputs = [ "out" "dev" ];
  };
  bad = made "bad" "echo the-reason >&2; exit 3" { };
  fixed = made "fixed" "echo one > $out" {
    outputHashMode = "flat"; outputHashAlgo = "sha256";
    outputHash = "0000000000000000000000000000000000000000000000000000000000000000";
  };
}
"""


@pytest.fixture
async def options(nix_stable: Nix, tmp_path: Path) -> dict[str, str]:
    """The host's busybox is the shell, in a directory that every Nix here can see."""
    shell = shutil.copy(await find_busybox(nix_stable), tmp_path / "sh")
    return {"sandbox-paths": f"/bin/sh={shell}", "substituters": "", "builders": ""}


def instantiated(nix: Nix, store: ScratchStore, directory: Path, attribute: str) -> StorePath:
    (directory / "made.nix").write_text(MADE)
    command = ("nix-instantiate", str(directory / "made.nix"), "-A", attribute)
    return StorePath.parse(run(nix, *command, store=store).stdout.strip())


async def test_all_outputs_are_built(
    any_nix: Nix, scratch_store: ScratchStore, tmp_path: Path, options: dict[str, str]
) -> None:
    store = StoreLocation.parse(scratch_store.url)
    derivation = instantiated(any_nix, scratch_store, tmp_path, "good")
    outputs = await realise(any_nix, [derivation], store=store, options=options)
    assert {path.name for path in outputs} == {"good", "good-dev"}
    assert all(store.real(path).is_file() for path in outputs)
    again = await realise(any_nix, [derivation], store=store, options=options)
    assert again == outputs


async def test_more_than_a_command_line_holds_is_made_in_parts(
    any_nix: Nix, scratch_store: ScratchStore, tmp_path: Path, options: dict[str, str]
) -> None:
    store = StoreLocation.parse(scratch_store.url)
    derivation = instantiated(any_nix, scratch_store, tmp_path, "good")
    outputs = await realise(any_nix, [derivation], store=store, options=options)
    many = (3 << 20) // len(outputs[0])
    again = await realise(any_nix, [*outputs] * (many // 2), store=store, options=options)
    assert set(again) == set(outputs)
    assert not await realise(any_nix, [], store=store, options=options)


async def test_a_path_is_substituted(
    any_nix: Nix, scratch_store: ScratchStore, tmp_path: Path, options: dict[str, str]
) -> None:
    derivation = instantiated(any_nix, scratch_store, tmp_path, "good")
    built = StoreLocation.parse(scratch_store.url)
    outputs = await realise(any_nix, [derivation], store=built, options=options)
    cache = f"file://{tmp_path}/cache"
    run(any_nix, "nix", "--extra-experimental-features", "nix-command",
        "copy", "--from", scratch_store.url, "--to", cache, *outputs)  # fmt: skip
    empty = ScratchStore(tmp_path / "empty")
    options = {**options, "substituters": cache, "require-sigs": "false"}
    location = StoreLocation.parse(empty.url)
    assert await realise(any_nix, outputs, store=location, options=options) == outputs
    assert all(location.real(path).is_file() for path in outputs)


async def test_a_build_that_fails_is_said_in_nix_words(
    any_nix: Nix, scratch_store: ScratchStore, tmp_path: Path, options: dict[str, str]
) -> None:
    store = StoreLocation.parse(scratch_store.url)
    derivation = instantiated(any_nix, scratch_store, tmp_path, "bad")
    with pytest.raises(SourceError) as caught:
        await realise(any_nix, [derivation], store=store, options=options)
    assert caught.value.message.startswith(f"Nix could not make {derivation}:\n")
    assert "exit code 3" in caught.value.message
    assert "the-reason" in caught.value.message


async def test_a_fixed_output_that_is_something_else_is_an_integrity_error(
    any_nix: Nix, scratch_store: ScratchStore, tmp_path: Path, options: dict[str, str]
) -> None:
    store = StoreLocation.parse(scratch_store.url)
    derivation = instantiated(any_nix, scratch_store, tmp_path, "fixed")
    with pytest.raises(IntegrityError, match="hash mismatch"):
        await realise(any_nix, [derivation], store=store, options=options)


async def test_nothing_needs_no_nix(nix_stable: Nix, tmp_path: Path) -> None:
    location = StoreLocation.parse(f"local?root={tmp_path}/none")
    assert await realise(nix_stable, [], store=location, options={}) == ()
    assert not location.root.exists()
