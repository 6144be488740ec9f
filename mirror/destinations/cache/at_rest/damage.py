"""What is found to be wrong with a file of a cache directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A file that is not as it was written, or missing.

    ``file`` is below the destination; ``path`` is the store path that is to be had again to mend
    it, None where that is not what it takes, or not known; ``hint`` says what else to do.
    ``narinfo`` is the one that it is, or whose NAR; ``because`` is the file that needs what is
    missing. ``is_unfit``: what it gives its readers is wrong, or nothing. ``is_mended_by_hand``: no
    repair mends it, only what ``hint`` says.
    """

    file: str
    problem: str
    path: StorePath | None = None
    hint: str | None = None
    narinfo: str | None = None
    because: str | None = None
    is_unfit: bool = False
    is_mended_by_hand: bool = False
