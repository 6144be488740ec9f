"""What is known of a path before it is fetched: held at the destination, offered by a cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.formats.path_info import PathInfo
    from mirror.planning.refusals import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A cache's claim that it has a path; ``download_bytes`` is the size of the download.

    ``is_signed``: a trusted key has signed what is said of it, or the cache is trusted as a whole.
    Else only the content decides, once it has come: the sizes are anybody's word, and unknown.
    """

    source: str
    info: PathInfo
    download_bytes: int | None
    is_signed: bool = True

    @property
    def nar_bytes(self) -> int | None:
        """The size of its NAR, if a trusted key or cache vouches for it."""
        return self.info.nar_size if self.is_signed else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Where a path is: at the destination (``held``), in a cache (``offer``), both or neither.

    ``refused`` says of each cache that has it why that is not believed, where none is. ``damage``
    says what is wrong with the files that the destination has of it, which then count for nothing.
    """

    held: PathInfo | None = None
    offer: Offer | None = None
    refused: tuple[Refusal, ...] = ()
    damage: str | None = None

    @property
    def info(self) -> PathInfo | None:
        """What is known of the path, if it is anywhere."""
        if self.held is not None:
            return self.held
        return self.offer.info if self.offer is not None else None

    @property
    def nar_bytes(self) -> int:
        """The size of its NAR, 0 if it is not known for certain."""
        if self.held is not None:
            return self.held.nar_size
        return 0 if self.offer is None else self.offer.nar_bytes or 0
