"""Which generations stay and which go: ``--keep``, ``--keep-daily``, ``--removed``, and so on.

Decides for each target on its own; what is to fit into a size is chosen from the result
(:mod:`.fitting`). Of a target that stays, the newest complete generation is always kept, since it
is what its owner falls back on, and so is a newer one that is incomplete, since the next sync
completes it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta, tzinfo

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

Reasons = tuple[str, ...]
"""Why a generation stays: the rules that keep it, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The generations of a target that stay; what any of these rules keeps stays.

    They are the newest ``keep`` complete ones (None: all), all that are not older than ``within``,
    and of the last ``daily`` days that have a complete one the newest of each day; likewise of
    weeks, which begin on Monday (ISO 8601), and of months. ``zone`` is the time zone that days
    begin in; None is this machine's.
    """

    keep: int | None
    within: timedelta | None = None
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    zone: tzinfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection(Generic[_Kept]):
    """The generations that stay and those that go, in the order in which they were given.

    ``unlisted`` are the targets that have generations and are on none of the lists given.
    ``reasons`` say why those that stay do, by target and number.
    """

    kept: tuple[_Kept, ...]
    dropped: tuple[_Kept, ...]
    unlisted: tuple[str, ...]
    reasons: Mapping[tuple[str, int], Reasons]


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
    unlisted = [] if listed is None else sorted({each.target for each in generations} - set(listed))
    reasons: dict[tuple[str, int], Reasons] = {}
    for target, of_target in by_target(generations).items():
        if target not in unlisted:
            staying = _staying(of_target, retention, now)
        else:
            staying = {} if removed else {each.number: ("not listed",) for each in of_target}
        reasons |= {(target, number): tuple(why) for number, why in staying.items()}
    return Selection(
        kept=tuple(each for each in generations if (each.target, each.number) in reasons),
        dropped=tuple(each for each in generations if (each.target, each.number) not in reasons),
        unlisted=tuple(unlisted),
        reasons=reasons,
    )


def by_target(generations: Iterable[_Kept]) -> Mapping[str, Sequence[_Kept]]:
    """The generations of each target, from the newest to the oldest."""
    found: defaultdict[str, list[_Kept]] = defaultdict(list)
    for each in sorted(generations, key=lambda each: -each.number):
        found[each.target].append(each)
    return found


def indispensable(newest_first: Sequence[_Kept]) -> Mapping[int, str]:
    """The numbers of those of one target's generations that always stay, and what they are."""
    found = {newest_first[0].number: "newest"}
    complete = [each.number for each in newest_first if not each.missing]
    if complete and complete[0] not in found:
        found[complete[0]] = "newest complete"
    return found


def _staying(
    newest_first: Sequence[_Kept], retention: Retention, now: datetime
) -> Mapping[int, Sequence[str]]:
    """The numbers of one target's generations that stay, and why each does."""
    complete = [each for each in newest_first if not each.missing]
    staying: defaultdict[int, list[str]] = defaultdict(list)
    for number, what in indispensable(newest_first).items():
        staying[number].append(what)
    last = newest_first if retention.keep is None else complete[: retention.keep]
    for each in last:
        staying[each.number].append("last")
    if retention.within is not None:
        oldest = now - retention.within
        for each in newest_first:
            if each.created >= oldest:
                staying[each.number].append("within")
    for name, count, period in _calendar(retention):
        for each in _newest_of_periods(complete, count, period):
            staying[each.number].append(name)
    return staying


_Period = tuple[int, ...]


def _calendar(retention: Retention) -> Iterator[tuple[str, int, Callable[[datetime], _Period]]]:
    """For each rule of the calendar its name, of how many periods, and a moment's period."""

    def local(moment: datetime) -> datetime:
        return moment.astimezone(retention.zone)

    yield "daily", retention.daily, lambda moment: (local(moment).toordinal(),)
    yield "weekly", retention.weekly, lambda moment: local(moment).isocalendar()[:2]
    yield "monthly", retention.monthly, lambda moment: (local(moment).year, local(moment).month)


def _newest_of_periods(
    generations: Iterable[_Kept], count: int, period: Callable[[datetime], _Period]
) -> Collection[_Kept]:
    """The newest of each of the last ``count`` periods that have any."""
    newest: dict[_Period, _Kept] = {}
    # By time, and not by number: a clock may have been set back between two runs.
    for each in sorted(generations, key=lambda each: (each.created, each.number), reverse=True):
        if len(newest) < count:
            newest.setdefault(period(each.created), each)
    return newest.values()
