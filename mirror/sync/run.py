"""The whole of ``sync``: plan, protect, obtain, perhaps build, keep.

:func:`plan` and :func:`sync` are what the commands call. What a run made ready is recorded at its
end, one generation a target; a target that misses something gets a generation that says so, which
keeps what there is until the next run completes it. The newest complete generation stays: only an
incomplete one goes when another takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from mirror.destinations import Generation
from mirror.destinations.records.vouched import recorded_keys
from mirror.errors import Attempt, DestinationError, FullError
from mirror.planning.refusals import failing
from mirror.planning.vouching import vouching
from mirror.sources import Wanted
from mirror.sync.asking import Item
from mirror.sync.build import build_targets
from mirror.sync.engine import obtain
from mirror.sync.kept.listing import Unlisted
from mirror.sync.kept.only_copies import ask_upstream, only_copies
from mirror.sync.planner import make_plan
from mirror.sync.prepare import evaluate_targets
from mirror.sync.records import problems, record_run, refused_downloads
from mirror.sync.report import Outcome
from mirror.sync.restricting import restrict
from mirror.sync.space import expect_room, need, telling_what_is_left
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mirror.destinations import Destination
    from mirror.errors import PrefetchError
    from mirror.formats.signing import PublicKey
    from mirror.formats.store_path import StorePath
    from mirror.planning.lists.targets import Target
    from mirror.planning.plan import Plan, TargetPlan
    from mirror.planning.refusals import Refusal
    from mirror.planning.vouching import Vouching
    from mirror.planning.wants import Unobtainable
    from mirror.sources.inquiry import Finding
    from mirror.sync.prepare import EvaluatedTargets
    from mirror.sync.records import Failures
    from mirror.sync.refresh.refresh import Refresh, Refreshed
    from mirror.sync.report import Observer
    from mirror.sync.space import Need
    from mirror.sync.workshop import Workshop

_PLANNING_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What ``plan`` found: a plan, what it needs, and the targets that could not be evaluated."""

    plan: Plan
    need: Need
    failures: tuple[tuple[Target, PrefetchError], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What ``sync`` did.

    ``kept`` are the generations that this run recorded, ``unchanged`` those that already said the
    same; ``outcomes`` are those of the plan's paths, in order. ``only_copies`` are paths that are
    held and that nobody upstream has any more, each with how that is known, told for the first
    time. ``refused`` is what caches have and what was not taken from them, nor had elsewhere but by
    a build. ``refreshed`` is what targets are evaluated from and was updated. ``unlisted`` are the
    targets at the destination that are on no list any more. ``vouching`` says by target who
    vouches for what its newest generation keeps.
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


async def plan(
    targets: Sequence[Target], workshop: Workshop, destination: Destination, observer: Observer
) -> Planned:
    """Say what would be done; nothing is written to the destination."""
    evaluated = await evaluate_targets(targets, workshop, observer)
    made = await make_plan(evaluated, workshop, destination, observer)
    return Planned(plan=made, need=await need(made, destination), failures=evaluated.failures)


async def sync(
    targets: Sequence[Target],
    workshop: Workshop,
    destination: Destination,
    observer: Observer,
    *,
    jobs: int,
    keep_going: bool,
    build: bool,
    refreshed: Refreshed | None = None,
    ask: bool = False,
) -> Synced:
    """Make the targets ready at the destination, and keep them there.

    Where what was ``refreshed`` for it does not make its targets ready, it is put back, and they
    are made ready as they were. ``ask``: find out what nobody upstream has any more.

    Raises:
        ToolError: Nix cannot be used.
        DestinationError: the destination cannot be used.

    """
    manner = _Manner(jobs=jobs, keep_going=keep_going, build=build)
    attempt = partial(_try, targets, workshop, destination, observer, manner=manner)
    failures: Failures = list(refreshed.failures) if refreshed else []
    tried = await attempt(failures=failures)
    if refreshed and (withheld := await refreshed.put_back(tried.problems)):
        failures += [(each, withheld[each.name]) for each in targets if each.name in withheld]
        stored = {path: tried.outcomes[path] for path in tried.stored}
        tried = await attempt(failures=failures)
        tried = replace(tried, outcomes={**stored, **tried.outcomes})
    kept, unchanged, vouched = await _keep(tried, workshop.keys, destination)
    if refreshed:
        await refreshed.settle()

    def passed_over(error: DestinationError) -> None:
        observer.notice(f"passed over: {error.message}")

    records = await destination.run_records(passed_over)
    before = {each.target: each.only_copies for each in records}
    findings: Mapping[StorePath, Finding] = {}
    if ask:
        evaluated, plan = tried.evaluated, tried.plan
        findings = await ask_upstream(plan, evaluated, workshop, destination, observer)
    copies = only_copies(tried.plan, findings, before)
    refused = tried.refused
    await record_run(tried.problems, copies, targets, destination, refused)
    told = {path for paths in before.values() for path in paths}
    return Synced(
        plan=tried.plan,
        failures=tuple(tried.failures),
        outcomes=tuple(
            [
                Outcome(path=path, result="held")
                for path in tried.plan.present
                if path not in tried.outcomes
            ]
            + [tried.outcomes[path] for path in sorted(tried.outcomes)]
        ),
        kept=kept,
        unchanged=unchanged,
        only_copies={
            path: findings[path].reason
            for path in sorted({path for paths in copies.values() for path in paths} - told)
        },
        refused=tuple(sorted({each for found in refused.values() for each in found})),
        refreshed=tuple(refreshed.done.values()) if refreshed else (),
        vouching=vouched,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manner:
    jobs: int
    keep_going: bool
    build: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
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
    def stored(self) -> set[StorePath]:
        return {path for path, outcome in self.outcomes.items() if outcome.result == "stored"}

    @property
    def there(self) -> set[StorePath]:
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


async def _try(
    targets: Sequence[Target],
    workshop: Workshop,
    destination: Destination,
    observer: Observer,
    *,
    manner: _Manner,
    failures: Failures,
) -> _Tried:
    """Evaluate, plan, obtain and perhaps build; ``failures`` are those of before."""
    evaluated = await evaluate_targets(targets, workshop, observer)
    plan = await _protected_plan(evaluated, workshop, destination, observer)
    try:
        await expect_room(plan, destination)
    except FullError:
        # Caches may have said so of their files in an earlier run, and not any more.
        if not workshop.caches.forget_recalled([each.path for each in plan.substitute]):
            raise
        plan = await _protected_plan(evaluated, workshop, destination, observer)
        await expect_room(plan, destination)
    await restrict(plan, destination, observer)
    async with telling_what_is_left(plan, destination, observer) as watching:
        outcomes = await obtain(
            _items(plan, evaluated, workshop),
            destination,
            watching,
            present=plan.present,
            incomplete=plan.incomplete,
            download_bytes=plan.download_bytes,
            jobs=manner.jobs,
            keep_going=manner.keep_going,
        )
    outcomes = _with_damage(outcomes, plan, destination)
    failures = [*failures, *evaluated.failures]
    plan_now = plan
    if manner.build:
        jobs = manner.jobs
        built = await build_targets(plan, evaluated, workshop, destination, observer, jobs=jobs)
        outcomes |= built.outcomes
        failures += built.failures
        # What was built is held now, and what it refers to is known.
        plan_now = await _protected_plan(evaluated, workshop, destination, observer)
    return _Tried(
        targets=targets,
        evaluated=evaluated,
        plan=plan,
        plan_now=plan_now,
        outcomes=outcomes,
        failures=failures,
        caches=workshop.caches.names,
    )


async def _protected_plan(
    evaluated: EvaluatedTargets, workshop: Workshop, destination: Destination, observer: Observer
) -> Plan:
    """A plan whose paths cannot be collected any more.

    What is present could be collected between the look at it and its protection: after protecting,
    it is looked at again, and if something went, the plan is made anew.
    """
    for _ in range(_PLANNING_ROUNDS):
        plan = await make_plan(evaluated, workshop, destination, observer)
        planned = [path for target in plan.targets for path in target.paths]
        if not await destination.protect(planned):
            return plan
        if len(await destination.held(plan.present)) == len(plan.present):
            return plan
    raise DestinationError(
        f"{destination.name} loses paths faster than they can be protected",
        hint="wait until the garbage collection there is over, and run it again",
    )


def _with_damage(
    outcomes: Mapping[StorePath, Outcome], plan: Plan, destination: Destination
) -> dict[StorePath, Outcome]:
    """Say first of what was obtained anew, or could not be, that it is damaged where it was."""
    found = dict(outcomes)
    for path in plan.damaged.keys() & outcomes.keys():
        attempt = Attempt(source=destination.name, error=plan.damaged[path])
        found[path] = replace(found[path], attempts=(attempt, *found[path].attempts))
    return found


def _items(plan: Plan, evaluated: EvaluatedTargets, workshop: Workshop) -> list[Item]:
    items = []
    offers = {each.path: each.offer for each in plan.substitute}
    for path in plan.in_reference_order():
        wanted = Wanted(path=path, fixed_output=evaluated.fixed_outputs.get(path))
        offer = offers.get(path)
        sources = [workshop.local] if path in plan.copy else workshop.sources(wanted, offer)
        items.append(Item(wanted=wanted, sources=sources, offer=offer))
    return items


async def _keep(
    tried: _Tried, trusted: Iterable[PublicKey], destination: Destination
) -> tuple[tuple[Generation, ...], tuple[Generation, ...], dict[str, Vouching]]:
    """Record a generation for each target whose newest one says something else.

    The manifest of one that says the same is renewed where it does not say who vouches for what it
    keeps, or somebody else does by now. Returned are the new ones, the others, and by target who
    vouches.
    """
    earlier = await destination.generations()
    there = tried.there
    kept = []
    unchanged = []
    known = (*trusted, *await destination.signers())
    recorded = recorded_keys(earlier)
    found = {}
    refused_of = tried.refused
    for target in tried.plan_now.targets:
        of_target = [each for each in earlier if each.target == target.target.name]
        newest = of_target[-1] if of_target else None
        wanted = target.paths | target.lacking
        refused = tuple(
            each
            for each in refused_of[target.target.name]
            if each.path in wanted and each.path not in there
        )
        generation = _generation(target, tried.evaluated, there, refused, newest)
        infos = await destination.held(generation.paths)
        vouched = await in_thread(vouching, infos.values(), known, recorded)
        if vouched.refused and await destination.sign(vouched.refused.keys()):
            signed = await destination.held(generation.paths)
            vouched = await in_thread(vouching, signed.values(), known, recorded)
        found[generation.target] = vouched.without(generation.private or ())
        if newest is not None and _say_the_same(newest, generation):
            renewed = replace(newest, outputs=generation.outputs, vouched=vouched.by_key)
            if renewed != newest:
                await destination.keep(renewed)
            unchanged.append(renewed)
            continue
        size = sum(info.nar_size for info in infos.values())
        generation = replace(generation, nar_bytes=size, vouched=vouched.by_key)
        await destination.keep(generation)
        if newest is not None and newest.missing:
            # It only bridged the time until this run; nobody could go back to it.
            await destination.forget(newest)
        kept.append(generation)
    return tuple(kept), tuple(unchanged), found


def _generation(
    plan: TargetPlan,
    evaluated: EvaluatedTargets,
    there: set[StorePath],
    refused: tuple[Refusal, ...],
    newest: Generation | None,
) -> Generation:
    """What the target's next generation is; how large it is has to be asked yet."""
    paths = tuple(sorted(plan.kept & there))
    return Generation(
        target=plan.target.name,
        number=newest.number + 1 if newest else 1,
        installable=plan.target.installable_text,
        level=plan.level.word,
        root=plan.root,
        created=datetime.now(UTC).replace(microsecond=0),
        paths=paths,
        nar_bytes=0,
        missing=tuple(
            sorted(
                (plan.kept - there)
                | plan.unobtainable.keys()
                | {each.path for each in failing(refused)}
            )
        ),
        refused=refused,
        sources=evaluated.fixed_outputs.flat_hashes(paths),
        inputs=tuple(
            each
            for each in evaluated.needs[plan.target.name].locked
            if each.path in plan.kept and each.path not in plan.private
        ),
        outputs=tuple(evaluated.graph[plan.root].output_paths()),
        private=tuple(sorted(plan.private.intersection(paths))),
    )


def _say_the_same(one: Generation, other: Generation) -> bool:
    def content(each: Generation) -> tuple[object, ...]:
        return (
            *(each.installable, each.level, each.root),
            *(each.paths, each.missing, each.refused, each.sources, each.inputs, each.private),
        )

    return content(one) == content(other)
