"""The interface of every source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from mirror.errors import Attempt
    from mirror.formats.store_path import StorePath
    from mirror.formats.verifier import Claim
    from mirror.planning.fetchers.fixed_outputs import FixedOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A path that is wanted; ``fixed_output`` is set where its content is known beforehand."""

    path: StorePath
    fixed_output: FixedOutput | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nar:
    """A NAR that a source has opened.

    ``chunks`` are its bytes in the compression that ``claim`` names, in pieces of about 1 MiB;
    reading them may raise a :class:`mirror.errors.SourceError`. ``location`` is the URL or file it
    comes from, for the report; ``attempts`` are the places that the source tried before, each with
    why it failed.
    """

    claim: Claim
    chunks: AsyncIterator[bytes]
    location: str
    attempts: tuple[Attempt, ...] = ()


class Source(Protocol):
    """A source of paths."""

    @property
    def name(self) -> str:
        """Its name in reports: ``https://cache.nixos.org``, ``origin``, ``builder``."""
        ...

    @property
    def is_one_party(self) -> bool:
        """Whether all answers come from one server: a wrong one then discredits the others."""
        ...

    def open(self, wanted: Wanted) -> AbstractAsyncContextManager[Nar]:
        """Open the path's NAR; leaving the context gives back whatever it took.

        Raises:
            NotAvailableError: it does not have the path.
            TransientError: it may have it later.
            IntegrityError: what it has is not the path.

        """
        ...
