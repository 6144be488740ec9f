"""Which generations stay and which go: ``--keep``, ``--keep-within``, ``--removed``.

Decides for each target on its own. Of a target that stays, the newest complete generation is always
kept, since it is what its owner falls back on, and so is a newer one that is incomplete, since the
next sync completes it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime, timedelta

    from mirror.formats.store_path import StorePath


class Dated(Protocol):
    """What retention needs to know about a generation."""

    @property
    def target(self) -> str:
        """The target's name."""
        ...

    @property
    def number(self) -> int:
        """The later of a target's generations have the higher numbers."""
        ...

    @property
    def created(self) -> datetime:
        """When it was made, in UTC."""
        ...

    @property
    def missing(self) -> Sequence[StorePath]:
        """The paths that it lacks; with any, it is incomplete."""
        ...


_Kept = TypeVar("_Kept", bound=Dated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The newest ``keep`` complete generations stay, and all that are not older than ``within``."""

    keep: int
    within: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection(Generic[_Kept]):
    """The generations that stay and those that go, in the order in which they were given.

    ``unlisted`` are the targets that have generations and are on none of the lists given.
    """

    kept: tuple[_Kept, ...]
    dropped: tuple[_Kept, ...]
    unlisted: tuple[str, ...]


def select(
    generations: Iterable[_Kept],
    retention: Retention,
    *,
    now: datetime,
    listed: Collection[str] | None = None,
    removed: bool = False,
) -> Selection[_Kept]:
    """Decide about every generation.

    With ``listed``, the targets of some lists, the generations of any other target stay as they
    are, or all go if ``removed``.
    """
    generations = tuple(generations)
    by_target: defaultdict[str, list[_Kept]] = defaultdict(list)
    for each in generations:
        by_target[each.target].append(each)
    unlisted = [] if listed is None else sorted(by_target.keys() - set(listed))
    staying: set[tuple[str, int]] = set()
    for target, of_target in by_target.items():
        if target not in unlisted:
            numbers = _staying(of_target, retention, now)
        else:
            numbers = set() if removed else {each.number for each in of_target}
        staying |= {(target, number) for number in numbers}
    return Selection(
        kept=tuple(each for each in generations if (each.target, each.number) in staying),
        dropped=tuple(each for each in generations if (each.target, each.number) not in staying),
        unlisted=tuple(unlisted),
    )


def _staying(generations: Iterable[_Kept], retention: Retention, now: datetime) -> set[int]:
    """The numbers of one target's generations that stay."""
    newest_first = sorted(generations, key=lambda each: -each.number)
    complete = [each for each in newest_first if not each.missing]
    staying = {newest_first[0].number}
    staying |= {each.number for each in complete[: max(retention.keep, 1)]}
    if retention.within is not None:
        oldest = now - retention.within
        staying |= {each.number for each in newest_first if each.created >= oldest}
    return staying
