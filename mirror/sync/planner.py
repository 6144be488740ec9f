"""From what targets are made of to a plan: ask the destination and the caches, decide.

Nothing is written anywhere. ``plan`` stops here; ``sync`` goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mirror.destinations.closures import presence
from mirror.errors import PrefetchError, first_of
from mirror.masking import has_secrets
from mirror.planning import budget
from mirror.planning import plan as planning
from mirror.planning.availability import Availability
from mirror.planning.graph import in_order
from mirror.planning.lists.targets import FlakeInstallable, Level
from mirror.planning.plan import AS_CHOSEN, EditPlan, LeftOut
from mirror.planning.presence import Found
from mirror.planning.refusals import summary
from mirror.planning.sharing import called, exposed_lines, share
from mirror.planning.wants import Rules
from mirror.quantities import number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from mirror.destinations import Destination
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.nix.evaluation.evaluate import Evaluated
    from mirror.planning.lists.targets import Target
    from mirror.planning.plan import Plan, TargetPlan
    from mirror.planning.presence import Flaw
    from mirror.planning.sharing import Sharing
    from mirror.planning.wants import Unobtainable, Wants
    from mirror.sources.caches.by_priority import Caches
    from mirror.sync.prepare import EvaluatedTargets
    from mirror.sync.report import Count, Observer
    from mirror.sync.workshop import Workshop

_LOOKUPS: Final = 256
_NOTHING: Final = Found()


async def make_plan(
    targets: EvaluatedTargets, workshop: Workshop, destination: Destination, observer: Observer
) -> Plan:
    """Plan the targets for the destination.

    Raises:
        DestinationError: the destination cannot be read.

    """
    graph = targets.graph
    needed = {path for each in targets.needs.values() for path in each.references}
    asked = {*graph.makers, *targets.references, *needed}
    kept = _Kept(destination)
    held = (await presence(kept, asked)).held
    with contextlib.ExitStack() as stack:
        count: Count | None = None
        if workshop.caches.names:
            asking = f"asking {', '.join(workshop.caches.names)}"
            count = stack.enter_context(observer.counting(asking, None))
        planner = _Planner(targets, workshop, kept, held, count)
        plans = [await planner.plan(each) for each in targets.evaluated]
    found = await presence(kept, {path for each in plans for path in each.paths})
    plan = replace(planning.merge(plans, graph, found), damaged=kept.damaged)
    _tell_of_caches(plan, workshop.caches, observer)
    _tell_of_damage(plan.damaged, observer)
    return plan


class _Kept:
    """What the destination has; each path is looked up once."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._found: dict[StorePath, Found] = {}
        self._looked_up: set[StorePath] = set()

    async def look_up(self, paths: Collection[StorePath]) -> Mapping[StorePath, Found]:
        """What there is of ``paths``."""
        unknown = set(paths) - self._looked_up
        if unknown:
            self._found.update(await self._destination.look_up(unknown))
            self._looked_up |= unknown
        return {path: self._found[path] for path in paths if path in self._found}

    @property
    def damaged(self) -> dict[StorePath, str]:
        """What is wrong with what the destination has, by path."""
        return {
            path: self.damage(each.flaw)
            for path, each in self._found.items()
            if each.flaw is not None
        }

    def damage(self, flaw: Flaw) -> str:
        """Say what is wrong, and what to do about it."""
        name = self._destination.name
        file = os.path.join(name, flaw.file)  # noqa: PTH118 - the name may be a URL
        repair = f"prefetch verify {shlex.quote(name)} --repair"
        return f"{file} is damaged: {flaw.problem} (`{repair}`)"


class _Planner:
    """Plans one target after the other, with one memory of what was asked."""

    def __init__(
        self,
        targets: EvaluatedTargets,
        workshop: Workshop,
        kept: _Kept,
        held: Mapping[StorePath, PathInfo],
        count: Count | None,
    ) -> None:
        self._count = count
        self._graph = targets.graph
        self._references = targets.references
        self._needs = targets.needs
        self._fixed_outputs = targets.fixed_outputs
        self._workshop = workshop
        self._kept = kept
        self._held = held
        self._availability: dict[StorePath, Availability] = {}
        self._rules = Rules(
            fixed_output=targets.fixed_outputs.__getitem__,
            builder_refusal=workshop.builder_refusal,
            always_substitute=workshop.settings.always_allow_substitutes,
        )

    async def plan(self, evaluated: Evaluated) -> TargetPlan:
        """Plan a target within its budget, if it has one."""
        planned = await self._whole(evaluated)
        limit = evaluated.target.budget
        if limit is None or budget.nar_bytes(planned) <= limit:
            return planned
        least = replace(evaluated.target, raised=(), level=min(planned.level, Level.REBUILD))
        essential = (await self._whole(replace(evaluated, target=least))).paths
        planned = budget.without_packages(planned, essential, self._graph, limit)
        notices, left_out = planned.notices, planned.left_out
        while budget.nar_bytes(planned) > limit and (dear := budget.dearest(planned.edits)):
            named = f"the edit {dear.name}, which would add {dear.nar_bytes:,} bytes"
            notices += (f"left out for the budget of {limit:,} bytes: {named}",)
            left_out += (LeftOut(kind="edit", name=dear.name, nar_bytes=dear.nar_bytes),)
            edits = tuple(each for each in evaluated.edits if each.edit.name != dear.name)
            evaluated = replace(evaluated, edits=edits, target=least)
            planned = replace(await self._whole(evaluated), level=planned.level)
        if (size := budget.nar_bytes(planned)) > limit:
            notices += (f"it takes {size:,} bytes, more than the budget of {limit:,}",)
        return replace(planned, notices=notices, left_out=left_out)

    async def _whole(self, evaluated: Evaluated) -> TargetPlan:
        target, root = evaluated.target, evaluated.root
        needs = self._needs[target.name]
        roots = [*evaluated.roots, *sorted(needs.derivations)]
        wants, notices = await self._wants(target, roots, self._rules)
        lasting = wants
        if wants.wants_fetchers:
            rules = replace(self._rules, with_fetchers=False)
            lasting, _ = await self._wants(target, roots, rules)
        chosen = f"{AS_CHOSEN}{evaluated.chosen}" if evaluated.chosen else None
        unobtainable = {path: self._with_refusal(each) for path, each in wants.unobtainable.items()}
        closure = in_order([root], lambda path: self._references.get(path, ()))
        read = {**{path: self._references[path] for path in closure}, **needs.references}
        sharing = share(
            target,
            evaluated=read,
            needed={*wants.paths, *wants.fetch},
            names=needs.names,
            fetchable=self._workshop.fetchable(needs.places),
        )
        return planning.finish(
            target,
            root,
            wants=wants,
            unobtainable=unobtainable,
            lasting=lasting,
            evaluated=read,
            sharing=sharing,
            edits=await self._edits(evaluated),
            notices=(
                *((chosen,) if chosen else ()),
                *needs.notices,
                *notices,
                *_who_is_given(sharing, needs.names),
                *_who_sees(target),
            ),
            allow_refused=self._workshop.allow_refused,
        )

    async def _wants(
        self, target: Target, roots: Sequence[StorePath], rules: Rules
    ) -> tuple[Wants, tuple[str, ...]]:
        wants, notices = planning.start(target, roots, self._graph, rules, self._held)
        await self._answer(wants)
        return wants, notices

    async def _edits(self, evaluated: Evaluated) -> tuple[EditPlan, ...]:
        """What each edit alone adds. All answers are known by now: nothing is asked again."""
        if not evaluated.edits:
            return ()
        base, _ = await self._wants(evaluated.target, [evaluated.root], self._rules)
        planned = []
        for each in evaluated.edits:
            added: set[StorePath] = set()
            size = 0
            if each.root is not None:
                roots = [evaluated.root, each.root]
                wants, _ = await self._wants(evaluated.target, roots, self._rules)
                added = (wants.paths.keys() - base.paths) | (wants.fetch.keys() - base.fetch)
                size = sum(wants.paths[path].nar_bytes for path in added & wants.paths.keys())
            planned.append(
                EditPlan(
                    name=each.edit.name,
                    root=each.root,
                    problem=each.problem,
                    is_applicable=each.is_applicable,
                    paths=len(added),
                    nar_bytes=size,
                )
            )
        return tuple(planned)

    def _with_refusal(self, missing: Unobtainable) -> Unobtainable:
        refused = self._workshop.caches.refused.get(missing.path)
        if not refused:
            return missing
        said = "; ".join(f"{each.cache}: {each.reason}" for each in refused)
        return replace(missing, reason=f"{missing.reason} (refused: {said})")

    async def _answer(self, wants: Wants) -> None:
        """Look up what the wants ask, many paths at once, until they ask no more."""
        questions: asyncio.Queue[StorePath] = asyncio.Queue()

        def take_questions() -> None:
            for path in wants.questions():
                questions.put_nowait(path)

        async def work() -> None:
            while True:
                path = await questions.get()
                wants.answer(path, await self._look_up(path))
                take_questions()
                questions.task_done()

        take_questions()
        try:
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(work()) for _ in range(_LOOKUPS)]
                await questions.join()
                for worker in workers:
                    worker.cancel()
        except* PrefetchError as errors:
            raise first_of(errors) from None

    async def _look_up(self, path: StorePath) -> Availability:
        known = self._availability.get(path)
        if known is None:
            found = (await self._kept.look_up([path])).get(path, _NOTHING)
            held = None if found.flaw else found.info
            offer = await self._workshop.caches.offer(
                path, is_fixed_output=path in self._fixed_outputs
            )
            known = self._availability[path] = Availability(
                held=held,
                offer=offer,
                refused=() if offer else self._workshop.caches.refused.get(path, ()),
                damage=self._kept.damage(found.flaw) if found.flaw else None,
            )
            if self._count is not None:
                self._count(len(self._availability))
        return known


def _who_is_given(sharing: Sharing, names: Mapping[str, StorePath]) -> Iterator[str]:
    """Say what clients are given although it is private, and what they are not."""
    yield from exposed_lines(sharing.exposed)
    if sharing.private:
        named = {called(name): path for name, path in names.items() if path in sharing.private}
        others = len(sharing.private.difference(named.values()))
        shown = [*named, *([number(others, "other path")] if others else [])]
        yield f"only evaluation reads these, and clients are not given them: {', '.join(shown)}"


def _who_sees(target: Target) -> Iterator[str]:
    installable = target.installable
    if isinstance(installable, FlakeInstallable) and has_secrets(installable.flake):
        yield (
            "its URL has a password or a token, which every user of this machine sees while Nix "
            "runs: have it in the netrc file or in `access-tokens`"
        )


def _tell_of_damage(damaged: Mapping[StorePath, str], observer: Observer) -> None:
    """Name what is damaged at the destination, which a plan takes for absent."""
    if damaged:
        others = len(damaged) - 1
        also = f", and so is what is kept of {number(others, 'more path')}" if others else ""
        observer.notice(f"{damaged[min(damaged)]}{also}; what is wanted of it is obtained again")


def _tell_of_caches(plan: Plan, caches: Caches, observer: Observer) -> None:
    """Say what the caches have that is not believed."""
    for line, _ in summary(plan.refused):
        observer.notice(line)
    told = {each.path for each in plan.refused}
    elsewhere = [each for path, all_ in caches.refused.items() if path not in told for each in all_]
    for line, _ in summary(elsewhere):
        observer.notice(f"{line}; asked for elsewhere, or not needed")
