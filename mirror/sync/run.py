"""A whole run: evaluate, plan, protect, obtain, perhaps build, keep.

:func:`plan` and :func:`sync` are what the commands call. A sync also refreshes what its targets are
evaluated from, if it is asked to, and records for each of them what it came to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.planning.refusals import paths
from mirror.sync.build import build_targets
from mirror.sync.keeping import keep
from mirror.sync.kept.listing import mark_unlisted, unlisted
from mirror.sync.kept.only_copies import find_only_copies
from mirror.sync.meter import Meter
from mirror.sync.obtaining import obtain_missing
from mirror.sync.planner import make_plan
from mirror.sync.prepare import evaluate_targets
from mirror.sync.protected import fitting_plan, protected_plan
from mirror.sync.records import failures_recorded, record_run
from mirror.sync.refresh.refresh import refreshed
from mirror.sync.refresh.unsettled import put_back_interrupted
from mirror.sync.restricting import restrict
from mirror.sync.results import Planned, Summary, Synced, Tried
from mirror.sync.space import need

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from mirror.destinations import Destination
    from mirror.planning.lists.targets import Target
    from mirror.sync.records import Failures
    from mirror.sync.refresh.refresh import Refreshed
    from mirror.sync.report import Observer
    from mirror.sync.sync_options import SyncOptions
    from mirror.sync.workshop import Workshop


async def plan(
    targets: Sequence[Target], workshop: Workshop, destination: Destination, observer: Observer
) -> Planned:
    """Say what would be done; nothing is written to the destination."""
    evaluated = await evaluate_targets(targets, workshop, observer)
    made = await make_plan(evaluated, workshop, destination, observer)
    return Planned(plan=made, need=await need(made, destination), failures=evaluated.failures)


async def sync(
    targets: Sequence[Target],
    opening: AbstractAsyncContextManager[Workshop],
    destination: Destination,
    observer: Observer,
    options: SyncOptions,
    *,
    lists: Collection[str] = (),
) -> Synced:
    """Make the targets ready at the destination, and keep them there.

    ``lists`` are the absolute names of the lists that were read, as far as they have one: a target
    that was on one of them before, and is not any more, is marked. ``opening`` opens the workshop.
    That may fail for want of a network, which is recorded for each target; the lists were read by
    then, and are right all the same.

    Raises:
        ToolError: Nix cannot be used.
        DestinationError: the destination cannot be used.

    """
    meter = Meter(observer)
    async with failures_recorded(targets, destination, meter):
        left = await mark_unlisted(targets, lists, destination)
        async with opening as workshop:
            await put_back_interrupted(targets, workshop.nix, meter)
            run = _Run(targets, workshop, destination, meter, options)
            to_refresh = targets if options.refresh else ()
            async with refreshed(to_refresh, workshop, meter) as anew:
                synced = await run.keep_ready(anew)
            return replace(synced, unlisted=await unlisted(destination, left))


@dataclass(frozen=True, slots=True)
class _Run:
    """A sync under way, with all that it works with."""

    targets: Sequence[Target]
    workshop: Workshop
    destination: Destination
    observer: Meter
    options: SyncOptions

    async def keep_ready(self, anew: Refreshed) -> Synced:
        """Make the targets ready, keep them, and record the result.

        Where what was refreshed does not make its targets ready, it is put back, and they are made
        ready as they were.
        """
        tried = await self._make_ready(anew.failures)
        if withheld := await anew.put_back(tried.problems):
            failures = [
                (each, withheld[each.name]) for each in self.targets if each.name in withheld
            ]
            tried = (await self._make_ready([*anew.failures, *failures])).after(tried)
        kept = await keep(tried, self.workshop.keys, self.destination)
        await anew.settle()
        copies = await find_only_copies(
            tried.plan,
            tried.evaluated,
            self.workshop,
            self.destination,
            self.observer,
            ask=self.options.ask_upstream,
        )
        refused = tried.refused
        problems, left_out = tried.problems, tried.left_out
        await record_run(
            problems,
            copies.of_targets,
            self.targets,
            self.destination,
            self.observer,
            refused=refused,
            left_out=left_out,
            new={each.target for each in kept.new},
        )
        all_refused = tuple(sorted({each for found in refused.values() for each in found}))
        failed = {name for name, texts in problems.items() if texts}
        return Synced(
            plan=tried.plan,
            failures=tuple(tried.failures),
            outcomes=tried.all_outcomes,
            kept=kept.new,
            unchanged=kept.unchanged,
            only_copies=copies.new,
            refused=all_refused,
            refreshed=tuple(anew.done.values()),
            vouching=kept.vouching,
            changed=kept.changed,
            summary=Summary(
                new=tuple(each.target for each in kept.new if each.target not in failed),
                unchanged=tuple(
                    each.target for each in kept.unchanged if each.target not in failed
                ),
                failed=tuple(each.name for each in self.targets if each.name in failed),
                stored=sum(each.result == "stored" for each in tried.outcomes.values()),
                received_bytes=self.observer.received_bytes,
                duration_seconds=self.observer.duration_seconds,
                refused=paths(all_refused),
                left_out=left_out,
            ),
        )

    async def _make_ready(self, failures: Failures) -> Tried:
        """Evaluate, plan, protect, obtain and perhaps build; ``failures`` are those of before."""
        workshop, destination, observer = self.workshop, self.destination, self.observer
        evaluated = await evaluate_targets(self.targets, workshop, observer)
        failures = [*failures, *evaluated.failures]
        plan = await fitting_plan(evaluated, workshop, destination, observer)
        await restrict(plan, destination, observer)
        outcomes = await obtain_missing(
            plan,
            evaluated,
            workshop,
            destination,
            observer,
            options=self.options,
        )
        plan_now = plan
        if self.options.build:
            built = await build_targets(
                plan, evaluated, workshop, destination, observer, options=self.options
            )
            outcomes |= built.outcomes
            failures += built.failures
            # What was built is held now, and what it refers to is known.
            plan_now = await protected_plan(evaluated, workshop, destination, observer)
        return Tried(
            targets=self.targets,
            evaluated=evaluated,
            plan=plan,
            plan_now=plan_now,
            outcomes=outcomes,
            failures=failures,
            caches=workshop.caches.names,
        )
