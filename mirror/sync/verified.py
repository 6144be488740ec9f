"""What a verification found, whatever the destination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.destinations.damage import Damage
    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification found.

    ``paths`` and ``files`` were read, ``bytes`` in all. ``sound`` are the paths of which nothing
    is wrong. Of ``unproven`` files not all is known to be right, as
    far as there is nothing to compare it with; ``strays`` are not of the destination, and were not
    read.
    """

    paths: int
    files: int
    bytes: int
    damages: tuple[Damage, ...]
    sound: frozenset[StorePath]
    unproven: int = 0
    strays: tuple[str, ...] = ()
