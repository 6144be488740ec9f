"""The results of verifying and repairing a destination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.errors import Attempt
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification found.

    ``paths`` and ``files`` were read, ``bytes`` in all. ``sound`` are the paths of which nothing
    is wrong. Of ``unproven`` files not all is known to be right, as far as there is nothing to
    compare it with; ``strays`` are not of the destination, and were not read.
    """

    paths: int
    files: int
    bytes: int
    damages: tuple[Damage, ...]
    sound: frozenset[StorePath]
    unproven: int = 0
    strays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """What became of a damage.

    ``source`` is where the path was had from, None where that is not how it was mended;
    ``set_aside`` is where its file is now, if that is where it was put.
    """

    damage: Damage
    is_mended: bool
    source: str | None = None
    attempts: tuple[Attempt, ...] = ()
    set_aside: str | None = None
