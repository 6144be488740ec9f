"""Which generations stay: for each target the newest, the young, never without a complete one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from mirror.formats.store_path import StorePath
from mirror.planning.fitting import fit
from mirror.planning.retention import Retention, select

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LACKING = StorePath.parse("/nix/store/7rjqb838snvvxcmpvck1smfxhkwzqal5-hello-2.12")
TARGETS = ("laptop", "pi", "vm")


@dataclass(frozen=True)
class Made:
    target: str
    number: int
    created: datetime
    missing: tuple[StorePath, ...] = ()


def made(number: int, *, target: str = "pi", days: int = 0, complete: bool = True) -> Made:
    return Made(target, number, NOW - timedelta(days=days), () if complete else (LACKING,))


def numbers(kept: tuple[Made, ...], target: str = "pi") -> list[int]:
    return [each.number for each in kept if each.target == target]


def test_the_newest_complete_ones_stay_of_each_target() -> None:
    generations = [made(n, target=target) for target in ("laptop", "pi") for n in (1, 2, 3, 4)]
    selection = select(generations, Retention(keep=2), now=NOW)
    assert numbers(selection.kept, "laptop") == numbers(selection.kept, "pi") == [3, 4]
    assert numbers(selection.dropped, "laptop") == [1, 2]
    assert selection.unlisted == ()


def test_an_incomplete_newest_stays_besides_and_older_incomplete_ones_go() -> None:
    generations = [made(1), made(2), made(3, complete=False), made(4), made(5, complete=False)]
    selection = select(generations, Retention(keep=2), now=NOW)
    assert numbers(selection.kept) == [2, 4, 5]


def test_what_is_young_stays_whatever_its_number() -> None:
    generations = [made(n, days=40 - 10 * n) for n in (1, 2, 3, 4)]
    within = Retention(keep=1, within=timedelta(days=20))
    assert numbers(select(generations, within, now=NOW).kept) == [2, 3, 4]
    both = Retention(keep=4, within=timedelta(days=1))
    assert numbers(select(generations, both, now=NOW).kept) == [1, 2, 3, 4]


def test_targets_on_no_list_are_named_and_go_only_when_they_are_to() -> None:
    generations = [made(n, target=target) for target in ("laptop", "pi") for n in (1, 2)]
    kept = select(generations, Retention(keep=1), now=NOW, listed=["pi", "new"])
    assert kept.unlisted == ("laptop",)
    assert numbers(kept.kept, "laptop") == [1, 2]
    assert numbers(kept.kept) == [2]
    gone = select(generations, Retention(keep=1), now=NOW, listed=["pi"], removed=True)
    assert numbers(gone.kept, "laptop") == []
    assert gone.unlisted == ("laptop",)


@given(
    st.lists(
        st.builds(
            made,
            st.integers(1, 9),
            target=st.sampled_from(TARGETS),
            days=st.integers(-1, 60),
            complete=st.booleans(),
        ),
        unique_by=lambda each: (each.target, each.number),
    ),
    st.integers(0, 5),
    st.none() | st.integers(0, 60).map(lambda days: timedelta(days=days)),
    st.none() | st.sets(st.sampled_from(TARGETS)),
)
def test_no_listed_target_loses_its_newest_or_its_newest_complete_one(
    generations: list[Made], keep: int, within: timedelta | None, listed: set[str] | None
) -> None:
    retention = Retention(keep=keep, within=within)
    selection = select(generations, retention, now=NOW, listed=listed, removed=True)
    assert sorted((*selection.kept, *selection.dropped), key=generations.index) == generations
    for target in TARGETS:
        of_target = [each for each in generations if each.target == target]
        complete = [each.number for each in of_target if not each.missing]
        kept = set(numbers(selection.kept, target))
        if listed is not None and target not in listed:
            assert not kept
            continue
        assert {max(each.number for each in of_target)} <= kept if of_target else not kept
        assert set(sorted(complete)[-max(keep, 1) :]) <= kept
    again = select(selection.kept, retention, now=NOW, listed=listed, removed=True)
    assert again.dropped == ()


ZONES = (UTC, timezone(timedelta(hours=13)), timezone(timedelta(hours=-9, minutes=-30)))


def calendar(moment: datetime, rule: str) -> str:
    """The day, week or month of a moment, written down."""
    return moment.strftime({"daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m"}[rule])


@given(
    st.lists(st.tuples(st.integers(0, 24 * 120), st.booleans()), min_size=1, max_size=40),
    st.fixed_dictionaries({rule: st.integers(0, 5) for rule in ("daily", "weekly", "monthly")}),
    st.sampled_from(ZONES),
)
def test_of_each_day_week_and_month_the_newest_complete_one_stays(
    drawn: list[tuple[int, bool]], rules: dict[str, int], zone: timezone
) -> None:
    ages = sorted((hours for hours, _ in drawn), reverse=True)
    generations = [
        Made("pi", number, NOW - timedelta(hours=hours), () if complete else (LACKING,))
        for number, (hours, (_, complete)) in enumerate(zip(ages, drawn, strict=True), 1)
    ]
    complete = [each for each in generations if not each.missing]
    expected = {generations[-1].number, *(each.number for each in complete[-1:])}
    for rule, count in rules.items():
        last: dict[str, int] = {}
        for each in complete:
            last[calendar(each.created.astimezone(zone), rule)] = each.number
        expected |= {last[period] for period in sorted(last)[len(last) - min(count, len(last)) :]}
    retention = Retention(
        keep=1,
        daily=rules["daily"],
        weekly=rules["weekly"],
        monthly=rules["monthly"],
        zone=zone,
    )
    selection = select(generations, retention, now=NOW)
    assert set(numbers(selection.kept)) == expected
    assert all(selection.reasons[each.target, each.number] for each in selection.kept)


@dataclass(frozen=True)
class Holding(Made):
    paths: tuple[StorePath, ...] = ()


PATHS = tuple(StorePath.parse(f"/nix/store/{letter * 32}-{letter}") for letter in "abcdfghi")


@given(
    st.lists(
        st.tuples(st.sampled_from(TARGETS), st.integers(0, 30), st.sets(st.sampled_from(PATHS))),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.integers(1, 9), min_size=len(PATHS), max_size=len(PATHS)),
    st.integers(0, 40),
)
def test_the_oldest_go_until_the_rest_fits(
    drawn: list[tuple[str, int, set[StorePath]]], sizes: list[int], limit: int
) -> None:
    # Two neighbours have a file in common, as equal NARs have.
    pieces = {
        path: {str(place): sizes[place], str(place // 2): sizes[place // 2]}
        for place, path in enumerate(PATHS)
    }
    generations = [
        Holding(target, number, NOW - timedelta(days=days), paths=tuple(sorted(paths)))
        for number, (target, days, paths) in enumerate(drawn, 1)
    ]

    def taken(kept: list[Holding]) -> int:
        names = {name for each in kept for path in each.paths for name in pieces[path]}
        return sum(sizes[int(name)] for name in names)

    everything = Retention(keep=None)
    selection, fitted = fit(select(generations, everything, now=NOW), pieces, limit=limit)
    left = list(generations)
    newest = {each.target: each for each in generations}
    for each in sorted(generations, key=lambda each: (each.created, each.number)):
        if taken(left) > limit and each is not newest[each.target]:
            left.remove(each)
    assert set(selection.kept) == set(left)
    assert set(selection.dropped) == set(generations) - set(left)
    assert (fitted.kept_bytes, fitted.excess) == (taken(left), max(0, taken(left) - limit))
