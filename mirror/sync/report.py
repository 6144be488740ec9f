"""The outcome for each path of a run, and its progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from mirror.errors import Attempt
    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome for one path.

    ``stored``: it is at the destination now, from ``source``. ``held``: it was there already.
    ``failed``: no source had it, as ``attempts`` say. A stored path has attempts too where
    other sources failed before.
    """

    path: StorePath
    result: Literal["stored", "held", "failed"]
    source: str | None = None
    attempts: tuple[Attempt, ...] = ()


class Observer(Protocol):
    """Receives the progress of a run: a terminal, a log, a test."""

    def step(self, text: str) -> None:
        """A new part of the run has begun: ``evaluating 3 targets``."""
        ...

    def notice(self, text: str) -> None:
        """Something that the user should know, although the run continues."""
        ...

    def transfer_begins(self, paths: int, download_bytes: int) -> None:
        """The number of paths that will be obtained, and their size as far as it is known."""
        ...

    def started(self, path: StorePath, source: str) -> None:
        """A source is about to be asked for a path."""
        ...

    def received(self, amount: int) -> None:
        """More bytes have arrived."""
        ...

    def finished(self, outcome: Outcome) -> None:
        """A path is settled."""
        ...

    def transfer_ends(self) -> None:
        """No more paths will be obtained."""
        ...
