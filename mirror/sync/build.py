"""``--build``: build the local derivations too, and keep their outputs.

Nix builds in the destination itself where that is a Nix store, else in the evaluating store with
the destination as its first cache, so what was just fetched is not fetched again; the outputs then
go to the destination like any other path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import PrefetchError, SourceError
from mirror.nix.closure import closure
from mirror.nix.realise import realise
from mirror.planning.graph import in_order
from mirror.sources import Wanted
from mirror.sync.asking import Item
from mirror.sync.engine import obtain
from mirror.sync.report import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.destinations import Destination
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.planning.lists.targets import Target
    from mirror.planning.plan import Plan
    from mirror.sync.prepare import EvaluatedTargets
    from mirror.sync.report import Observer
    from mirror.sync.sync_options import SyncOptions
    from mirror.sync.workshop import Workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """How building went: an outcome for each path that it added, an error a target that failed."""

    outcomes: Mapping[StorePath, Outcome]
    failures: tuple[tuple[Target, PrefetchError], ...]


async def build_targets(
    plan: Plan,
    evaluated: EvaluatedTargets,
    workshop: Workshop,
    destination: Destination,
    observer: Observer,
    *,
    options: SyncOptions,
) -> Built:
    """Build the plan's local derivations; a target that fails stops no other.

    Raises:
        DestinationError: the destination cannot take what was built.

    """
    outputs = [each for path in plan.build for each in evaluated.graph[path].output_paths()]
    await destination.protect(outputs)
    await workshop.evaluation.add_temp_roots(outputs)
    before = await destination.held(outputs)
    failures: list[tuple[Target, PrefetchError]] = []
    store = destination.store or workshop.store
    with workshop.build_options(destination) as settings:
        for target in plan.targets:
            observer.step(f"building {len(target.build)} derivations of {target.target.name}")
            build = sorted(target.build)
            try:
                await realise(workshop.nix, build, store=store, options=settings)
            except SourceError as error:
                failures.append((target.target, error))
    if destination.store is not None:
        added = set(await destination.held(outputs)) - set(before)
        outcomes: Mapping[StorePath, Outcome] = {
            path: Outcome(path=path, result="stored", source="builder") for path in added
        }
    else:
        missing = [path for path in outputs if path not in before]
        outcomes = await _copy(missing, workshop, destination, observer, options.jobs)
    return Built(outcomes=outcomes, failures=tuple(failures))


async def _copy(
    outputs: Sequence[StorePath],
    workshop: Workshop,
    destination: Destination,
    observer: Observer,
    jobs: int,
) -> Mapping[StorePath, Outcome]:
    """Copy what was built, and what it refers to and the destination lacks, to the destination."""

    async def look_up(unread: set[StorePath]) -> Mapping[StorePath, PathInfo]:
        return await workshop.evaluation.query_path_infos(
            unread - (await destination.held(unread)).keys()
        )

    infos = await closure(outputs, look_up)
    references = {path: info.references for path, info in infos.items()}
    ordered = in_order(
        references, lambda path: [each for each in references[path] if each in references]
    )
    needed = {each for path in ordered for each in references[path]}
    return await obtain(
        [
            Item(wanted=Wanted(path=path), sources=[workshop.local], is_local=True)
            for path in ordered
        ],
        destination,
        observer,
        present=await destination.held(needed),
        jobs=jobs,
        keep_going=True,
    )
