"""What every kind of destination says of itself: which names are its own, and how one is opened.

For another kind, write these three attributes in a folder of its own and add it to
:data:`mirror.destinations.registry.KINDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from mirror.destinations.destination import Destination
    from mirror.formats.signing import SecretKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a destination is opened.

    ``exclusive``: to be written to; its lock is held. Without it nothing is made and no lock taken:
    it is for looking, and for receipts, also while another run writes. ``must_exist``: a slip of
    the pen makes no new one. ``signing_key`` signs what is made here. ``to_mend``: it may be
    damaged, and what is committed takes the place of what is there.

    ``reads_contents``: what is looked up is read where that is not known to be whole. Where the
    lock is held, or with ``remembers``, what was found so is remembered.
    """

    exclusive: bool = True
    must_exist: bool = False
    signing_key: SecretKey | None = None
    to_mend: bool = False
    reads_contents: bool = False
    remembers: bool = False


class Kind(Protocol):
    """A kind of destination."""

    @property
    def forms(self) -> str:
        """How a user names one, for the hint of an error."""
        ...

    def is_meant(self, to: str | None) -> bool:
        """Whether ``to`` names one of this kind; None is what nobody has named."""
        ...

    def open(self, to: str | None, opening: Opening) -> AbstractAsyncContextManager[Destination]:
        """Open the one that ``to`` names.

        Raises:
            LockedError: another run holds its lock.
            RequestError: it cannot be used from here.
            DestinationError: it cannot be used, or has to exist and does not.
            ToolError: what it takes is missing.

        """
        ...
