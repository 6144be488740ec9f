"""The closure of a derivation, from the store that it was evaluated in to every destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.made_paths import input_addressed, text

from mirror.destinations.cache.directory import CacheDirectory
from mirror.destinations.destination import Ready
from mirror.destinations.store.nix_store import NixStore
from mirror.errors import IntegrityError, NotAvailableError
from mirror.formats.store_path import StorePath
from mirror.formats.verifier import NarVerifier
from mirror.nix.protocol.daemon import connect
from mirror.nix.stores import StoreLocation, remove_store
from mirror.sources.local_store import LocalStore
from mirror.sources.source import Wanted

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.destinations.destination import Destination
    from mirror.nix.command import Nix

EXPRESSION = """
let make = name: args: derivation
  ({ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; } // args);
in make "root" {
  source = ./tree;
  text = builtins.toFile "words" "a text";
  input = make "input" { args = [ "-c" "echo > $out" ]; };
}
"""


async def evaluate(nix: Nix, store: StoreLocation, directory: Path) -> list[StorePath]:
    """Evaluate a derivation; its closure in an order that can be committed."""
    (directory / "tree/below").mkdir(parents=True)
    (directory / "tree/below/data").write_bytes(bytes(2_500_000))
    (directory / "tree/run").write_text("#!/bin/sh\n")
    (directory / "tree/run").chmod(0o755)
    (directory / "tree/link").symlink_to("below/data")
    (directory / "root.nix").write_text(EXPRESSION)
    made = await nix.run(["nix-instantiate", "--store", store.url, str(directory / "root.nix")])
    assert made.returncode == 0, made.stderr
    root = made.stdout.decode().strip()
    closure = await nix.run(["nix-store", "--store", store.url, "-qR", root])
    return [StorePath.parse(line) for line in closure.stdout.decode().split()]


async def copy(source: LocalStore, destination: Destination, path: StorePath) -> None:
    async with source.open(Wanted(path=path)) as opened:
        verifier = NarVerifier(opened.claim)
        async with destination.stage(opened.claim) as staging:
            async for chunk in opened.chunks:
                for piece in verifier.feed(chunk):
                    staging.write(piece)
            await destination.commit([Ready(staging, verifier.finish())])


async def test_nix_takes_the_closure_without_any_signature(
    nix: Nix, store: StoreLocation, tmp_path: Path
) -> None:
    closure = await evaluate(nix, store, tmp_path)
    cache, other = tmp_path / "cache", StoreLocation.parse(f"local?root={tmp_path}/other")
    async with (
        connect(nix, store) as connection,
        CacheDirectory.open(cache) as directory,
        NixStore.open(nix, other) as second_store,
    ):
        source = LocalStore(connection, store)
        infos = await connection.query_path_infos(closure)
        for path in closure:
            await copy(source, directory, path)
            await copy(source, second_store, path)
        assert await directory.held(closure) == infos
        assert await second_store.held(closure) == infos
    third = f"local?root={tmp_path}/third"
    copied = await nix.run(
        ["nix", "copy", "--from", f"file://{cache}", "--to", third, "--derivation", closure[-1]]
    )
    assert copied.returncode == 0, copied.stderr
    for url in (other.url, third):
        checked = await nix.run(["nix-store", "--store", url, "--verify", "--check-contents"])
        assert checked.returncode == 0, checked.stderr
        again = await nix.run(["nix-store", "--store", url, "-qR", closure[-1]])
        assert set(again.stdout.decode().split()) == set(closure)


async def test_what_is_not_there_or_damaged_is_said_to_be_so(
    nix: Nix, store: StoreLocation, tmp_path: Path
) -> None:
    closure = await evaluate(nix, store, tmp_path)
    async with connect(nix, store) as connection, CacheDirectory.open(tmp_path / "c") as cache:
        source = LocalStore(connection, store)
        for absent in (text("absent"), input_addressed("absent")):
            with pytest.raises(NotAvailableError, match="absent is not in the store"):
                await copy(source, cache, absent.path)
        (tree,) = [path for path in closure if path.name == "tree"]
        (store.real(tree) / "run").chmod(0o644)
        with pytest.raises(IntegrityError, match="tree"):
            await copy(source, cache, tree)
        remove_store(store.real(tree))
        with pytest.raises(IntegrityError, match="tree cannot be read"):
            await copy(source, cache, tree)
