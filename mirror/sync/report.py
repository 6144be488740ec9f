"""The outcome for each path of a run, and its progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a transfer is to bring.

    ``sizes`` are the paths that a network is asked for, each with how many bytes come, if a cache
    has said so. ``local`` are those that are copied on this machine.
    """

    sizes: Mapping[StorePath, int | None]
    local: frozenset[StorePath] = frozenset()

    @property
    def known_bytes(self) -> int:
        """How many bytes come from a network, as far as is known."""
        return sum(size for size in self.sizes.values() if size is not None)


class Count(Protocol):
    """Is told how a step of many parts goes on."""

    def __call__(self, begun: int, newest: str = "") -> None:
        """So many parts have begun; ``newest`` names the last of them."""
        ...


class Observer(Protocol):
    """Receives the progress of a run: a terminal, a log, a test."""

    def step(self, text: str) -> None:
        """A new part of the run has begun: ``evaluating 3 targets``."""
        ...

    def notice(self, text: str) -> None:
        """Something that the user should know, although the run continues."""
        ...

    def counting(self, text: str, total: int | None) -> AbstractContextManager[Count]:
        """A new part of the run has begun that has ``total`` parts of its own.

        ``text`` is what it does: ``evaluating``. Without a total, what is counted are paths, and
        nobody knows yet how many there will be.
        """
        ...

    def transfer_begins(self, expected: Expected) -> None:
        """Paths will be obtained."""
        ...

    def started(self, path: StorePath, source: str) -> None:
        """A source is about to be asked for a path."""
        ...

    def received(self, path: StorePath, amount: int) -> None:
        """More bytes of a path have arrived."""
        ...

    def finished(self, outcome: Outcome) -> None:
        """A path is settled."""
        ...

    def transfer_ends(self) -> None:
        """No more paths will be obtained."""
        ...
