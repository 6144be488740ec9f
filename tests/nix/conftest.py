"""Where Nix itself is spoken to, the quick suite has both versions, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mirror.nix.command import Nix


@pytest.fixture(scope="session", params=["nix_stable", "nix_newest"])
def any_nix(request: pytest.FixtureRequest) -> Nix:
    """Each version in turn."""
    nix: Nix = request.getfixturevalue(request.param)
    return nix
