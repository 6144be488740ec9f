"""``sync --ask-upstream``: which kept paths are no longer available upstream.

That is a path that came from a cache, if none of the caches has it now, or a source, if no cache,
no origin and no hashed mirror has it. What this machine made itself was never upstream.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError, PrefetchError, SourceError, first_of
from mirror.planning.graph import is_machine_specific
from mirror.sources.inquiry import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mirror.destinations import Destination
    from mirror.errors import DestinationError
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.planning.plan import Plan
    from mirror.sync.prepare import EvaluatedTargets
    from mirror.sync.report import Observer
    from mirror.sync.workshop import Workshop

_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlyCopies:
    """What is held and nobody upstream has any more.

    ``of_targets`` has the paths that each target keeps, by its name; ``new`` are those that are
    told for the first time, each with how that is known.
    """

    of_targets: Mapping[str, Collection[StorePath]]
    new: Mapping[StorePath, str]


async def find_only_copies(
    plan: Plan,
    evaluated: EvaluatedTargets,
    workshop: Workshop,
    destination: Destination,
    observer: Observer,
    *,
    ask: bool,
) -> OnlyCopies:
    """Find the only copies that the targets keep; unless ``ask``, those of the last run.

    Raises:
        DestinationError: the destination cannot be read.

    """

    def passed_over(error: DestinationError) -> None:
        observer.notice(f"passed over: {error.message}")

    records = await destination.run_records(passed_over)
    before = {each.target: each.only_copies for each in records}
    findings: Mapping[StorePath, Finding] = {}
    if ask:
        findings = await ask_upstream(plan, evaluated, workshop, destination, observer)
    copies = only_copies(plan, findings, before)
    told = {path for paths in before.values() for path in paths}
    new = {path for paths in copies.values() for path in paths} - told
    return OnlyCopies(of_targets=copies, new={path: findings[path].reason for path in sorted(new)})


async def ask_upstream(
    plan: Plan,
    evaluated: EvaluatedTargets,
    workshop: Workshop,
    destination: Destination,
    observer: Observer,
) -> Mapping[StorePath, Finding]:
    """Ask the caches and origins for what the targets keep and the destination held before.

    Raises:
        DestinationError: the destination cannot be read.

    """
    kept = {path for target in plan.targets for path in target.kept}
    held = await destination.held(sorted(kept.intersection(plan.present)))
    inquiry = _Inquiry(evaluated, workshop, asyncio.Semaphore(_AT_ONCE))
    asked = {path: info for path, info in held.items() if inquiry.was_upstream(path, info)}
    observer.step(f"asking upstream for {len(asked)} paths")
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {
                path: group.create_task(inquiry.find(path, info)) for path, info in asked.items()
            }
    except* PrefetchError as errors:
        raise first_of(errors) from None
    return {path: task.result() for path, task in tasks.items()}


def only_copies(
    plan: Plan,
    findings: Mapping[StorePath, Finding],
    before: Mapping[str, Collection[StorePath]],
) -> dict[str, frozenset[StorePath]]:
    """The only copies that each target keeps, by its name.

    ``before`` are those of the last run: they stay until they are found upstream again, or the
    target does not need them any more.
    """
    gone = {path for path, found in findings.items() if found.state == "gone"}
    there = {path for path, found in findings.items() if found.state == "there"}
    copies = {name: frozenset(paths) for name, paths in before.items()}
    for each in plan.targets:
        known = copies.get(each.target.name, frozenset())
        copies[each.target.name] = ((known - there) | gone) & each.kept
    return copies


@dataclass(frozen=True, slots=True)
class _Inquiry:
    evaluated: EvaluatedTargets
    workshop: Workshop
    turns: asyncio.Semaphore

    def was_upstream(self, path: StorePath, info: PathInfo) -> bool:
        """Whether it is a source, or came from a cache: then somebody who is trusted signed it."""
        if path in self.evaluated.fixed_outputs:
            return True
        graph = self.evaluated.graph
        makers = graph.makers.get(path, ())
        is_ours = any(is_machine_specific(graph[maker]) for maker in makers)
        return not is_ours and self.workshop.keys.verify(info) is not None

    async def find(self, path: StorePath, info: PathInfo) -> Finding:
        async with self.turns:
            found = await self._in_caches(path)
            if found.state != "gone" or path not in self.evaluated.fixed_outputs:
                return found
            try:
                fixed_output = self.evaluated.fixed_outputs[path]
            except FormatError:
                return Finding("unknown")
            return await self.workshop.ask_upstream(fixed_output, info.nar_size)

    async def _in_caches(self, path: StorePath) -> Finding:
        caches = self.workshop.caches
        is_fixed_output = path in self.evaluated.fixed_outputs
        try:
            offer = await caches.offer(path, is_fixed_output=is_fixed_output)
        except SourceError:
            return Finding("unknown")
        if offer is not None or path in caches.refusals:
            return Finding("there")
        if not caches.is_whole or caches.failures or not (caches.all or is_fixed_output):
            return Finding("unknown")
        return Finding("gone", f"not at {', '.join(caches.names)} any more")
