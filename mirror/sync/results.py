"""What runs come to: what ``plan`` found, what ``sync`` did, and what it has before it keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mirror.planning.refusals import failing
from mirror.sync.kept.listing import Unlisted
from mirror.sync.records import problems, refused_downloads
from mirror.sync.report import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mirror.destinations import Generation
    from mirror.errors import PrefetchError
    from mirror.formats.store_path import StorePath
    from mirror.planning.changes import Since
    from mirror.planning.lists.targets import Target
    from mirror.planning.plan import Plan
    from mirror.planning.refusals import Refusal
    from mirror.planning.vouching import Vouching
    from mirror.planning.wants import Unobtainable
    from mirror.sync.prepare import EvaluatedTargets
    from mirror.sync.records import Failures
    from mirror.sync.refresh.refresh import Refresh
    from mirror.sync.space import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What ``plan`` found: a plan, what it needs, and the targets that could not be evaluated."""

    plan: Plan
    need: Need
    failures: tuple[tuple[Target, PrefetchError], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run came to in figures, which are the same in every report of it.

    Each target is ``new``, ``unchanged`` or ``failed``: it has a new generation, the one of before,
    or not all of it is there. ``stored`` paths were obtained, of which ``received_bytes`` came from
    a network. ``refused`` paths are such that caches have and that were not taken. ``left_out`` is
    what had no room in a budget, by target.
    """

    new: tuple[str, ...]
    unchanged: tuple[str, ...]
    failed: tuple[str, ...]
    stored: int
    received_bytes: int
    duration_seconds: int
    refused: int
    left_out: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What ``sync`` did.

    ``kept`` are the generations that this run recorded, ``unchanged`` those that already said the
    same; ``outcomes`` are those of the plan's paths, in order. ``only_copies`` are paths that are
    held and that nobody upstream has any more, each with how that is known, told for the first
    time. ``refused`` is what caches have and what was not taken from them, nor had elsewhere but by
    a build. ``refreshed`` is what targets are evaluated from and was updated. ``unlisted`` are the
    targets at the destination that are on no list any more. ``vouching`` says by target who
    vouches for what its newest generation keeps, ``changed`` what a new generation has that the one
    before had not, and the other way round. ``summary`` is what the run came to in figures.
    """

    plan: Plan
    failures: tuple[tuple[Target, PrefetchError], ...]
    outcomes: tuple[Outcome, ...]
    kept: tuple[Generation, ...]
    unchanged: tuple[Generation, ...]
    only_copies: Mapping[StorePath, str] = field(default_factory=dict)
    refused: tuple[Refusal, ...] = ()
    refreshed: tuple[Refresh, ...] = ()
    vouching: Mapping[str, Vouching] = field(default_factory=dict)
    changed: Mapping[str, Since] = field(default_factory=dict)
    summary: Summary
    unlisted: Unlisted = field(default_factory=Unlisted)

    @property
    def unobtainable(self) -> tuple[Unobtainable, ...]:
        """What nothing could supply, nor was built."""
        there = {each.path for each in self.outcomes if each.result != "failed"}
        return tuple(each for each in self.plan.unobtainable if each.path not in there)

    @property
    def is_complete(self) -> bool:
        """Whether everything that was asked for is there, and nothing of it was refused."""
        return (
            not self.failures
            and not self.unobtainable
            and not failing(self.refused)
            and all(outcome.result != "failed" for outcome in self.outcomes)
        )

    @property
    def is_news(self) -> bool:
        """Whether anything is new, or anything is not as it should be."""
        new = self.kept or self.only_copies or self.refreshed or self.unlisted.newly
        return bool(new) or not self.is_complete


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a try came to, before anything is kept; ``plan_now`` also knows what was built.

    ``caches`` are the names of those that were asked.
    """

    targets: Sequence[Target]
    evaluated: EvaluatedTargets
    plan: Plan
    plan_now: Plan
    outcomes: Mapping[StorePath, Outcome]
    failures: Failures
    caches: Collection[str]

    @property
    def all_outcomes(self) -> tuple[Outcome, ...]:
        """What was there already, then what was to be obtained, both by path."""
        held = [path for path in self.plan.present if path not in self.outcomes]
        return (
            *(Outcome(path=path, result="held") for path in held),
            *(self.outcomes[path] for path in sorted(self.outcomes)),
        )

    @property
    def there(self) -> set[StorePath]:
        """What is at the destination now, of all that was planned."""
        obtained = (each.path for each in self.outcomes.values() if each.result != "failed")
        return {*self.plan_now.present, *obtained}

    @property
    def problems(self) -> dict[str, list[str]]:
        """What each target failed of, by its name."""
        planned = {each.target.name: each for each in self.plan_now.targets}
        refused = self.refused
        return {
            each.name: problems(
                each,
                planned.get(each.name),
                self.outcomes,
                self.failures,
                refused.get(each.name, ()),
            )
            for each in self.targets
        }

    @property
    def refused(self) -> dict[str, tuple[Refusal, ...]]:
        """What was refused of each target that could be planned, by its name."""
        return {
            each.target.name: (*each.refused, *refused_downloads(each, self.outcomes, self.caches))
            for each in self.plan.targets
        }

    @property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """What had no room in a budget, by its target's name."""
        return {
            each.target.name: tuple(str(one) for one in each.left_out)
            for each in self.plan.targets
            if each.left_out
        }

    def after(self, earlier: Tried) -> Tried:
        """The same, and of what an earlier try stored also where it came from."""
        stored = {path: each for path, each in earlier.outcomes.items() if each.result == "stored"}
        return replace(self, outcomes={**stored, **self.outcomes})
