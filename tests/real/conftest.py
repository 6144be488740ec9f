"""Tests on a real NixOS: they are there only where ``PREFETCH_NIXPKGS`` names a nixpkgs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from rig.real_nixos import checkout, evaluate_real
from rig.running import ScratchStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig.real_nixos import RealNixos

    from mirror.nix.command import Nix

collect_ignore_glob = [] if checkout() else ["test_*.py"]


@pytest.fixture(scope="session")
def evaluated(nix_newest: Nix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNixos]:
    """The laptop, all its edits, and the laptop cross-compiled."""
    directory = tmp_path_factory.mktemp("real")
    store = ScratchStore(directory / "store")
    yield asyncio.run(evaluate_real(nix_newest, store, directory / "invented"))
    store.remove()


@pytest.fixture
def real(evaluated: RealNixos, monkeypatch: pytest.MonkeyPatch) -> RealNixos:
    """The same, and no test evaluates any of it again, which takes seconds for each edit."""
    monkeypatch.setattr("mirror.sync.prepare.evaluate_all", evaluated.evaluate_again)
    return evaluated
