"""From targets to what they are made of: evaluate them, read their build graph.

Every command that asks what targets are made of starts here. :func:`evaluate_targets` also finds
out what a plan needs beside the graph, and may use the network. :func:`evaluate_offline` and
:func:`evaluate_isolated` are for those that say what there is without one: Nix then evaluates where
no interface is up, and is told of no cache.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.errors import EvaluationError
from mirror.nix.closure import closure
from mirror.nix.derivations import read_closure
from mirror.nix.evaluation.evaluate import Evaluated, evaluate_all
from mirror.nix.evaluation.evaluators import EvaluatorBounds, Evaluators
from mirror.nix.evaluation.needs import EvaluationNeeds, Inputs, evaluation_needs
from mirror.nix.evaluation.remembering import Remembering
from mirror.nix.settings import read_settings
from mirror.nix.stores import locate
from mirror.planning.fetchers.fixed_output_index import FixedOutputs
from mirror.planning.graph import Graph
from mirror.planning.lists.targets import Level
from mirror.planning.sharing import ALL, SELF, unknown_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.nix.settings import NixSettings
    from mirror.nix.stores import StoreLocation
    from mirror.planning.lists.targets import Target
    from mirror.sync.report import Observer
    from mirror.sync.workshop import Workshop

_USUAL: Final = EvaluatorBounds()

_NO_CACHES: Final = "substituters =\nextra-substituters ="

Results = tuple[tuple["Target", Evaluated | EvaluationError], ...]
"""Targets with what each is evaluated to, or with why it could not be."""

References = dict["StorePath", tuple["StorePath", ...]]
"""Paths with what each refers to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Targets as they were evaluated without a network, and their common build graph.

    ``nix``, which has no network and the ``settings``, evaluated them into ``store``.
    """

    results: Results
    graph: Graph
    nix: Nix
    store: StoreLocation
    settings: NixSettings


async def evaluate_offline(
    targets: Sequence[Target],
    nix: Nix,
    observer: Observer,
    *,
    store: str | None,
    bounds: EvaluatorBounds = _USUAL,
) -> Evaluation:
    """Take the network from Nix, and evaluate the targets into the store that a URL means.

    Raises:
        ToolError: Nix cannot be used, or its network cannot be taken away.

    """
    configuration = f"{nix.environment.get('NIX_CONFIG', '')}\n{_NO_CACHES}"
    isolated = replace(
        await nix.isolated(), environment={**nix.environment, "NIX_CONFIG": configuration}
    )
    place = await locate(isolated, store)
    return await evaluate_isolated(targets, isolated, observer, store=place, bounds=bounds)


async def evaluate_isolated(
    targets: Sequence[Target],
    nix: Nix,
    observer: Observer,
    *,
    store: StoreLocation,
    bounds: EvaluatorBounds = _USUAL,
) -> Evaluation:
    """Evaluate the targets with a Nix that has no network; one that fails stops no other.

    Raises:
        ToolError: Nix cannot be used.

    """
    settings = await read_settings(nix)
    doing = "evaluating without a network"
    results = await _evaluate(
        targets, nix, store, settings, observer=observer, doing=doing, bounds=bounds
    )
    roots = [root for _, each in results if isinstance(each, Evaluated) for root in each.roots]
    return Evaluation(
        results=results,
        graph=await build_graph(store, roots),
        nix=nix,
        store=store,
        settings=settings,
    )


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
    remembering = Remembering(workshop.nix, workshop.store, workshop.settings, workshop.evaluation)
    await remembering.recall(targets, believe=not workshop.re_evaluate)
    results = await _evaluate(
        targets,
        workshop.nix,
        workshop.store,
        workshop.settings,
        observer=observer,
        doing="evaluating",
        bounds=workshop.evaluators,
        remembering=remembering,
    )
    await remembering.save()
    evaluated = [result for _, result in results if isinstance(result, Evaluated)]
    failures = [(target, result) for target, result in results if not isinstance(result, Evaluated)]
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
    inputs = Inputs(workshop.nix, workshop.store)
    needs = {each.target.name: await _needs(each, inputs, workshop, observer) for each in evaluated}
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
    graph = await build_graph(workshop.store, roots)
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


async def build_graph(store: StoreLocation, roots: Iterable[StorePath]) -> Graph:
    """The derivations that ``roots``, which are in the store, are made of."""
    return Graph(await asyncio.to_thread(read_closure, store, list(roots)))


async def _evaluate(
    targets: Sequence[Target],
    nix: Nix,
    store: StoreLocation,
    settings: NixSettings,
    *,
    observer: Observer,
    doing: str,
    bounds: EvaluatorBounds,
    remembering: Remembering | None = None,
) -> Results:
    """Evaluate each target and each of its edits, which ``doing`` names."""
    seen: set[str] = set()
    total = sum(1 + len(each.edits) for each in targets)
    total -= 0 if remembering is None else remembering.count
    with observer.counting(doing, total) as count:

        def begun(name: str) -> None:
            seen.add(name)
            count(len(seen), name)

        results = await evaluate_all(
            nix,
            targets,
            store=store,
            system=settings.system,
            evaluators=Evaluators(bounds.limit(), memory=bounds.memory, begun=begun),
            remembering=remembering,
        )
    return tuple(zip(targets, results, strict=True))


def _misnamed(target: Target, needs: EvaluationNeeds) -> Iterator[tuple[str, str]]:
    """What is wrong with the names of ``private=`` and ``public=``, and what to do about it."""
    if needs.names and (unknown := unknown_names(target, needs.names)):
        yield (
            f"{target.name} has nothing called {', '.join(unknown)}, as private= or public= say",
            f"it has: {', '.join(sorted({SELF, ALL, *needs.names}))}",
        )


async def _needs(
    evaluated: Evaluated, inputs: Inputs, workshop: Workshop, observer: Observer
) -> EvaluationNeeds:
    """What evaluating the target again takes; at level runtime nobody will."""
    if evaluated.target.level is Level.RUNTIME:
        return EvaluationNeeds()
    try:
        return await evaluation_needs(
            workshop.nix,
            evaluated,
            store=workshop.store,
            connection=workshop.evaluation,
            inputs=inputs,
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
