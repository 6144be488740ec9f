"""What is published in a cache directory, as stock Nix finds it."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING

from rig.running import run

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.nix.command import Nix


def read_by_nix(nix: Nix, cache: Path) -> set[str]:
    """Have Nix read every closure and verify every NAR; the paths that there are.

    It reads a copy, since it makes directories in every cache that it opens.
    """
    with tempfile.TemporaryDirectory(prefix="read-by-nix-") as copies:
        shutil.copytree(cache, f"{copies}/cache")
        store = ("--store", f"file://{copies}/cache")
        listed = run(nix, "nix", "path-info", *store, "--all", "--recursive").stdout.split()
        run(nix, "nix", "store", "verify", *store, "--all", "--no-trust")
    return set(listed)
