"""Stores that Nix was killed in while it made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.running import ScratchStore, run

from mirror.errors import ToolError
from mirror.nix.stores import StoreLocation, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.nix.command import Nix


async def test_a_store_that_nix_was_killed_in_while_making_it_can_be_opened(
    any_nix: Nix, tmp_path: Path
) -> None:
    store = ScratchStore(tmp_path / "store")
    await open_store(any_nix, StoreLocation.parse(store.url))
    schema = store.directory / "nix/var/nix/db/schema"
    schema.write_bytes(b"")
    said = run(any_nix, "nix-store", "--verify", store=store, check=False).stderr
    assert "corrupt" in said, "Nix itself does not go on"
    await open_store(any_nix, StoreLocation.parse(store.url))
    assert schema.read_bytes()
    run(any_nix, "nix-store", "--verify", store=store)


async def test_a_store_that_is_something_else_is_left_alone(
    nix_stable: Nix, tmp_path: Path
) -> None:
    store = ScratchStore(tmp_path / "store")
    await open_store(nix_stable, StoreLocation.parse(store.url))
    schema = store.directory / "nix/var/nix/db/schema"
    schema.write_text("ten")
    with pytest.raises(ToolError, match="corrupt"):
        await open_store(nix_stable, StoreLocation.parse(store.url))
    assert schema.read_text() == "ten"
