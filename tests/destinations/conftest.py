from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.memory_destination import Memories

from mirror.destinations.cache.directory import CacheDirectory
from mirror.destinations.kind import Opening
from mirror.destinations.store.nix_store import NixStore
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mirror.destinations.destination import Destination
    from mirror.nix.command import Nix


def _at_home(nix: Nix, home: Path) -> Nix:
    """``nix`` with directories of the test's own."""
    kept = {name: value for name, value in nix.environment.items() if not name.startswith("XDG_")}
    return replace(nix, environment={**kept, "HOME": str(home)})


@pytest.fixture
def nix(any_nix: Nix, tmp_path: Path) -> Nix:
    return _at_home(any_nix, tmp_path / "home")


@pytest.fixture
def store(tmp_path: Path) -> StoreLocation:
    return StoreLocation.parse(f"local?root={tmp_path}/store")


@pytest.fixture(params=["cache", "memory", "nix_stable", "nix_newest"])
def open_destination(
    request: pytest.FixtureRequest, tmp_path: Path, store: StoreLocation
) -> Callable[..., AbstractAsyncContextManager[Destination]]:
    """Opens the test's destination, of each kind in turn."""
    if request.param == "cache":
        return lambda **options: CacheDirectory.open(tmp_path / "cache", **options)
    if request.param == "memory":
        memories = Memories()
        return lambda **options: memories.open("memory:test", Opening(**options))
    nix = _at_home(request.getfixturevalue(request.param), tmp_path / "home")
    return lambda **options: NixStore.open(nix, store, **options)
