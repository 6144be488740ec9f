"""Which of the generations that would stay have to go so that the rest fit: ``--max-size``.

What several generations share is counted once, so what one of them frees depends on which others
have gone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from mirror.planning.retention import Dated, by_target, indispensable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mirror.formats.store_path import StorePath
    from mirror.planning.retention import Selection


class Sized(Dated, Protocol):
    """A generation of which it is known what it keeps."""

    @property
    def paths(self) -> Sequence[StorePath]:
        """The paths that it keeps."""
        ...


_Kept = TypeVar("_Kept", bound=Sized)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How what is kept compares with the size that it may have, both in bytes."""

    limit: int
    kept_bytes: int

    @property
    def excess(self) -> int:
        """By how many bytes it is too large."""
        return max(0, self.kept_bytes - self.limit)


def fit(
    selection: Selection[_Kept], pieces: Mapping[StorePath, Mapping[str, int]], *, limit: int
) -> tuple[Selection[_Kept], Fit]:
    """Drop the oldest generations of all targets until what is kept takes at most ``limit`` bytes.

    A target's indispensable generations stay, and so do all those of targets that are on none of
    the lists; so it may still be too large in the end. ``pieces`` are what each path takes, by
    name; one may be part of several. The result is ordered by target and number.
    """
    uses = Counter(name for each in selection.kept for name in _names(each, pieces))
    sizes = {name: size for each in pieces.values() for name, size in each.items()}
    total = sum(sizes[name] for name in uses)
    going: set[tuple[str, int]] = set()
    for each in _oldest_first(selection):
        if total <= limit:
            break
        going.add((each.target, each.number))
        for name in _names(each, pieces):
            uses[name] -= 1
            if not uses[name]:
                total -= sizes[name]
    return _without(selection, going), Fit(limit=limit, kept_bytes=total)


def _oldest_first(selection: Selection[_Kept]) -> Iterable[_Kept]:
    """What may go; of one moment those with the lowest numbers first."""
    droppable = [
        each
        for target, newest_first in by_target(selection.kept).items()
        if target not in selection.unlisted
        for each in newest_first
        if each.number not in indispensable(newest_first)
    ]
    return sorted(droppable, key=lambda each: (each.created, each.number, each.target))


def _names(generation: Sized, pieces: Mapping[StorePath, Mapping[str, int]]) -> Iterator[str]:
    """The names of the pieces of a generation, each once."""
    yield from {name for path in generation.paths for name in pieces.get(path, ())}


def _without(selection: Selection[_Kept], going: set[tuple[str, int]]) -> Selection[_Kept]:
    if not going:
        return selection
    everything = sorted(
        (*selection.kept, *selection.dropped), key=lambda each: (each.target, each.number)
    )
    reasons = {key: why for key, why in selection.reasons.items() if key not in going}
    return replace(
        selection,
        kept=tuple(each for each in everything if (each.target, each.number) in reasons),
        dropped=tuple(each for each in everything if (each.target, each.number) not in reasons),
        reasons=reasons,
    )
