"""From targets to what they are made of: evaluate them, read their build graph."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import EvaluationError
from mirror.nix.closure import closure
from mirror.nix.derivations import read_closure
from mirror.nix.evaluation.evaluate import Evaluated, evaluate_all
from mirror.nix.evaluation.needs import EvaluationNeeds, evaluation_needs
from mirror.planning.fetchers.fixed_output_index import FixedOutputs
from mirror.planning.graph import Graph
from mirror.planning.lists.targets import Level
from mirror.planning.sharing import ALL, SELF, unknown_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.planning.lists.targets import Target
    from mirror.sync.report import Observer
    from mirror.sync.workshop import Workshop

_EVALUATIONS: Final = 2

References = dict["StorePath", tuple["StorePath", ...]]
"""Paths with what each refers to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedTargets:
    """The targets that could be evaluated, their common build graph, and the others' errors.

    ``references`` are those of the root ``.drv`` closures: what each derivation, and each source
    that evaluation put into the store, refers to. ``needs`` is what evaluating each target again
    takes, by its name. ``fixed_outputs`` are the graph's.
    """

    evaluated: tuple[Evaluated, ...]
    failures: tuple[tuple[Target, EvaluationError], ...]
    graph: Graph
    references: References
    needs: Mapping[str, EvaluationNeeds]
    fixed_outputs: FixedOutputs


async def evaluate_targets(
    targets: Sequence[Target], workshop: Workshop, observer: Observer
) -> EvaluatedTargets:
    """Evaluate the targets and read what they are made of; a target that fails stops no other.

    Raises:
        ToolError: Nix cannot be used.

    """
    observer.step(f"evaluating {', '.join(target.name for target in targets)}")
    results = await evaluate_all(
        workshop.nix,
        targets,
        store=workshop.store,
        system=workshop.settings.system,
        limit=_EVALUATIONS,
    )
    evaluated = [result for result in results if isinstance(result, Evaluated)]
    failures = [
        (target, result)
        for target, result in zip(targets, results, strict=True)
        if not isinstance(result, Evaluated)
    ]
    failures += [
        (
            each.target,
            EvaluationError(
                f"{each.target.name} with the edit {edit.edit.name}: {edit.problem}",
                edit=edit.edit.name,
            ),
        )
        for each in evaluated
        for edit in each.edits
        if edit.root is None and edit.is_applicable
    ]
    roots = [root for each in evaluated for root in each.roots]
    # A collection could have come between evaluation and now; from here on it cannot.
    await workshop.evaluation.add_temp_roots(roots)
    for path in set(roots) - await workshop.evaluation.query_valid_paths(roots):
        raise EvaluationError(
            f"{path} was garbage-collected right after its evaluation", hint="run it again"
        )
    observer.step("reading the build graph")
    needs = {each.target.name: await _needs(each, workshop, observer) for each in evaluated}
    # Whoever names what is to be private, and names it wrong, must not have it given away.
    misnamed = {
        each.target.name: (each.target, EvaluationError(problem, hint=hint))
        for each in evaluated
        for problem, hint in _misnamed(each.target, needs[each.target.name])
    }
    failures += misnamed.values()
    evaluated = [each for each in evaluated if each.target.name not in misnamed]
    needs = {name: each for name, each in needs.items() if name not in misnamed}
    roots = [root for each in evaluated for root in each.roots]
    roots += [path for each in needs.values() for path in each.derivations]
    graph = Graph(await asyncio.to_thread(read_closure, workshop.store, roots))
    return EvaluatedTargets(
        evaluated=tuple(evaluated),
        failures=tuple(failures),
        graph=graph,
        references=await _references(graph, workshop),
        needs=needs,
        fixed_outputs=FixedOutputs(
            graph, overrides=workshop.nix.environment, system=workshop.settings.system
        ),
    )


def _misnamed(target: Target, needs: EvaluationNeeds) -> Iterator[tuple[str, str]]:
    """What is wrong with the names of ``private=`` and ``public=``, and what to do about it."""
    if needs.names and (unknown := unknown_names(target, needs.names)):
        yield (
            f"{target.name} has nothing called {', '.join(unknown)}, as private= or public= say",
            f"it has: {', '.join(sorted({SELF, ALL, *needs.names}))}",
        )


async def _needs(evaluated: Evaluated, workshop: Workshop, observer: Observer) -> EvaluationNeeds:
    """What evaluating the target again takes; at level runtime nobody will."""
    if evaluated.target.level is Level.RUNTIME:
        return EvaluationNeeds()
    try:
        return await evaluation_needs(
            workshop.nix, evaluated, store=workshop.store, connection=workshop.evaluation
        )
    except EvaluationError as error:
        observer.notice(
            f"not all that evaluating {evaluated.target.name} offline may need is kept: "
            f"{error.message}"
        )
        return EvaluationNeeds()


async def _references(graph: Graph, workshop: Workshop) -> References:
    """What the derivations of the graph refer to, and the sources that they refer to, in turn."""
    references: References = {
        path: tuple(sorted({*derivation.input_sources, *derivation.input_derivations}))
        for path, derivation in graph.derivations.items()
    }

    async def look_up(unread: set[StorePath]) -> Mapping[StorePath, PathInfo]:
        infos = await workshop.evaluation.query_path_infos(unread)
        if lost := unread - infos.keys():
            raise EvaluationError(
                f"{min(lost)} is missing from the store {workshop.store.url}, although a "
                "derivation refers to it",
                hint="`nix-store --verify` finds such damage",
            )
        return infos

    for path, info in (await closure(graph.input_sources, look_up)).items():
        references[path] = tuple(each for each in info.references if each != path)
    return references
