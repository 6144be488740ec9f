"""This machine's store as a source for a repair; it is not trusted.

A path from it is accepted if its content is known to be the one that was kept, or if it is
content-addressed and its content and references make its name.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.errors import NotAvailableError
from mirror.planning.vouching import follows_from_its_content

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.sources import Nar, Source, Wanted

_UNPROVEN: Final = "it cannot be verified: its narinfo is damaged, too"


@dataclass(frozen=True, slots=True)
class OfThisMachine:
    """The paths of ``store`` that are what was kept; ``whole`` is what is known of that."""

    store: Source
    whole: Mapping[StorePath, PathInfo]

    @property
    def name(self) -> str:
        """The store's own."""
        return self.store.name

    @property
    def is_one_party(self) -> bool:
        """It is not: one path says nothing of the others."""
        return False

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        """Open the path's NAR.

        Raises:
            NotAvailableError: the store does not have it, or something that may be another.
            IntegrityError: it cannot be read there.

        """
        async with self.store.open(wanted) as nar:
            info, kept = nar.claim.info, self.whole.get(wanted.path)
            if kept is not None and kept.nar_hash != info.nar_hash:
                raise NotAvailableError(
                    f"what {self.name} has is not what was kept: expected {kept.nar_hash}, "
                    f"got {info.nar_hash}"
                )
            if kept is None and not follows_from_its_content(info):
                raise NotAvailableError(f"{self.name} has it: {_UNPROVEN}")
            yield replace(nar, claim=replace(nar.claim, info=kept or info))
