"""What is known of a path before it is fetched: held at the destination, offered by a cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.formats.path_info import PathInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A cache's word that it has a path; ``download_bytes`` is the size of what it would send."""

    source: str
    info: PathInfo
    download_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Where a path is: at the destination (``held``), in a cache (``offer``), both or neither.

    ``damage`` says what is wrong with the files that the destination has of it, which then count
    for nothing.
    """

    held: PathInfo | None = None
    offer: Offer | None = None
    damage: str | None = None

    @property
    def info(self) -> PathInfo | None:
        """What is known of the path, if it is anywhere."""
        if self.held is not None:
            return self.held
        return self.offer.info if self.offer is not None else None
