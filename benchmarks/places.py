"""Where benchmarks find what was installed for them, and keep what takes long to make."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.system.temporaries import remove_left_behind, temporary_directory

if TYPE_CHECKING:
    from collections.abc import Callable


def cached(name: str) -> Path:
    """A place of this name in the user's cache directory, below prefetch's own."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "prefetch" / name


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The directory of this name among what is kept; ``make`` fills it if it is not there yet."""
    kept = cached("benchmarks")
    directory = kept / name
    if not directory.exists():
        kept.mkdir(parents=True, exist_ok=True)
        remove_left_behind(kept)
        with temporary_directory(kept) as made:
            make(made)
            try:
                made.rename(directory)
            except OSError:
                # Somebody else made the same meanwhile: theirs is as good.
                if not directory.exists():
                    raise
    return directory
