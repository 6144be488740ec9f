"""Where benchmarks find what was installed for them, and keep what takes long to make."""

from __future__ import annotations

import os
from pathlib import Path


def cached(name: str) -> Path:
    """A place of this name in the user's cache directory, below prefetch's own."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "prefetch" / name
