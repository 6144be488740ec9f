"""Programs that tools/install-nix unpacks, since installed they would be started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rig.nixes import missing


def unpacked(name: str, directory: str, path: str) -> str:
    """A program: an installed one, or the one that is unpacked at ``path`` of ``directory``."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = shutil.which(name) or shutil.which(cache / "prefetch" / directory / path)
    if program is None:
        missing(f"there is no {name}: tools/install-nix tests unpacks it")
    return program
