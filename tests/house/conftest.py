"""A user at a shell, and the NixOS module, evaluated with each module system that there is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.nixos import Module, libraries
from rig.shell import shell

if TYPE_CHECKING:
    from rig.running import ScratchStore

    from mirror.nix.command import Nix

__all__ = ["shell"]


@pytest.fixture(scope="session", params=libraries())
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each module system, where both versions of Nix can read it."""
    file = libraries()[request.param]
    if request.param == "ours":
        return file
    return Path(
        shutil.copytree(file.parent, tmp_path_factory.mktemp("nixpkgs") / "lib") / file.name
    )


@pytest.fixture
def module(any_nix: Nix, scratch_store: ScratchStore, library: Path) -> Module:
    return Module(any_nix, scratch_store, library)
