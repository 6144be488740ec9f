"""A destination as a source: a rehearsal uses no other."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.sources import Nar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.destinations.capabilities import Readable
    from mirror.sources import Wanted


@dataclass(frozen=True, slots=True)
class Kept:
    """The paths of a destination, or of what is left of one."""

    of: Readable
    is_one_party: bool = False
    """However many are damaged, every one is asked for."""

    @property
    def name(self) -> str:
        """The destination's own."""
        return self.of.name

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        """Open the path's NAR.

        Raises:
            NotAvailableError: it is not there.
            IntegrityError: it is damaged.

        """
        async with self.of.read(wanted.path) as kept:
            yield Nar(claim=kept.claim, chunks=kept.chunks, location=kept.location)
