"""``check``: whether targets, and their edits, can be rebuilt without a network.

It touches none itself: evaluation has none, and this process opens no connection but one to a
store. The answer is for the destination as it is now: a Nix store that builds with what is valid in
it, or a cache whose clients start from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.destinations.closures import presence
from mirror.errors import EvaluationError
from mirror.nix.evaluation.evaluate import Evaluated
from mirror.nix.evaluation.evaluators import EvaluatorBounds
from mirror.nix.evaluation.package_names import attribute_names
from mirror.planning.lists.targets import Level
from mirror.planning.names import candidates
from mirror.planning.readiness import Offline
from mirror.sync.prepare import evaluate_offline

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mirror.destinations import Destination, Generation
    from mirror.errors import PrefetchError
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.planning.graph import Graph
    from mirror.planning.lists.targets import Target
    from mirror.planning.readiness import Readiness
    from mirror.planning.refusals import Refusal
    from mirror.sync.prepare import Evaluation
    from mirror.sync.report import Observer

_BUILDS_ABOVE_WHAT_IS_LACKING: Final = (2, 30, 0)
"""From this version on, Nix does not substitute what refers to something that it had to build."""

_GOES_BY_THE_NARINFO: Final = (2, 9, 0)
"""At the latest from 2.34 on, Nix decompresses a NAR as its narinfo says; 2.8 finds out how.

By the same versions, it reads all signatures of a narinfo, or only those of keys that it trusts.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The result for one target, or for one edit of it.

    ``problem`` is why it could not even be evaluated offline, or why the edit does not apply; else
    there is a ``root``, the derivation that it is evaluated to, and its ``readiness``. ``refused``
    is what caches had when the target was last synced, and was not believed: what is built for want
    of that is ``built_for_refusals``.
    """

    target: Target
    edit: str | None = None
    root: StorePath | None = None
    readiness: Readiness | None = None
    problem: PrefetchError | None = None
    is_applicable: bool = True
    refused: tuple[Refusal, ...] = ()
    built_for_refusals: frozenset[StorePath] = frozenset()

    @property
    def is_ready(self) -> bool:
        """Whether it can be built with no network now (what does not apply needs nothing)."""
        if not self.is_applicable:
            return True
        return self.readiness is not None and self.readiness.is_ready


async def check(
    targets: Sequence[Target],
    nix: Nix,
    observer: Observer,
    *,
    store: str | None,
    destination: Destination | None,
    valid_paths: Collection[StorePath] = (),
    bounds: EvaluatorBounds | None = None,
) -> list[Checked]:
    """Say of each target whether it can be built from what ``destination`` has.

    Without a destination, ``valid_paths`` are what the store that is asked about has.

    Raises:
        ToolError: Nix cannot be used, or its network cannot be taken away.

    """
    evaluation = await evaluate_offline(
        targets, nix, observer, store=store, bounds=bounds or EvaluatorBounds()
    )
    return await _named(await judge(evaluation, destination, valid_paths=valid_paths), evaluation)


async def judge(
    evaluation: Evaluation,
    destination: Destination | None,
    *,
    valid_paths: Collection[StorePath] = (),
) -> list[Checked]:
    """Say the same of targets that have been evaluated, without names for what is missing.

    Raises:
        DestinationError: the destination cannot be looked at.

    """
    graph = evaluation.graph
    refused = await _refused(destination)
    offline = await _offline(evaluation, destination, valid_paths)
    # Whoever makes an edit evaluates it, and so has the sources that evaluation makes.
    edited = offline.believing(graph.input_sources)
    is_cache = destination is not None and destination.store is None
    checked: list[Checked] = []
    for target, result in evaluation.results:
        if not isinstance(result, Evaluated):
            checked.append(Checked(target=target, problem=result))
            continue
        # To enter a dev shell, Nix builds a variant of it, from all that it is built from.
        readiness = offline.readiness(
            result.root,
            anew=result.is_dev_shell,
            # Its outputs alone are kept at level runtime, and asked for by their paths.
            with_derivation=is_cache and target.level is not Level.RUNTIME,
        )
        of_target = [Checked(target=target, root=result.root, readiness=readiness)]
        of_target += [
            Checked(
                target=target,
                edit=each.edit.name,
                root=each.root,
                readiness=None if each.root is None else edited.readiness(each.root),
                problem=EvaluationError(each.problem) if each.problem else None,
                is_applicable=each.is_applicable,
            )
            for each in result.edits
        ]
        checked += [
            _with_refusals(
                each,
                offline if each.edit is None else edited,
                refused.get(target.name, ()),
                anew=result.is_dev_shell and each.edit is None,
            )
            for each in of_target
        ]
    return checked


async def _refused(destination: Destination | None) -> Mapping[str, tuple[Refusal, ...]]:
    """What was refused of each target when its newest generation was made, by its name."""
    generations = [] if destination is None else await destination.generations()
    return {each.target: each.refused for each in generations}


def _with_refusals(
    checked: Checked, offline: Offline, refused: tuple[Refusal, ...], *, anew: bool
) -> Checked:
    """Say what would be built for want of what was refused when the target was last synced."""
    if not refused or checked.root is None or checked.readiness is None:
        return checked
    believing = offline.believing({each.path for each in refused})
    needed = believing.readiness(checked.root, anew=anew).build
    return replace(checked, refused=refused, built_for_refusals=checked.readiness.build - needed)


async def _offline(
    evaluation: Evaluation, destination: Destination | None, valid_paths: Collection[StorePath]
) -> Offline:
    """What there is without a network at the destination, or else in a store of these paths."""
    graph = evaluation.graph
    if destination is None:
        return Offline(graph=graph, valid=frozenset(valid_paths))
    local = await _local_derivations(graph, destination)
    paths = {*graph.makers, *graph.input_sources}
    if destination.store is not None:
        found = await presence(destination, paths)
        valid = found.held.keys() | found.flaws.keys()
        return Offline(graph=graph, valid=valid, damaged=found, local=local)
    destination.look_as(
        trusted_keys=evaluation.settings.trusted_public_keys,
        is_old_nix=evaluation.nix.version < _GOES_BY_THE_NARINFO,
    )
    roots = [
        root for _, each in evaluation.results if isinstance(each, Evaluated) for root in each.roots
    ]
    return Offline(
        graph=graph,
        valid=frozenset(),
        cache=await presence(destination, {*paths, *roots}),
        local=local,
        retries=evaluation.nix.version < _BUILDS_ABOVE_WHAT_IS_LACKING,
    )


async def _named(checked: Sequence[Checked], evaluation: Evaluation) -> list[Checked]:
    """Give what targets and their edits miss the names that it has in the targets' packages."""
    named: list[Checked] = []
    for target, result in evaluation.results:
        of_target = [each for each in checked if each.target is target]
        causes = [cause for each in of_target if each.readiness for cause in each.readiness.missing]
        missing = sorted({path for cause in causes for path in cause.paths})
        wanted = candidates(evaluation.graph, missing)
        if wanted and isinstance(result, Evaluated):
            names = await attribute_names(
                evaluation.nix,
                result,
                wanted,
                store=evaluation.store,
                system=evaluation.settings.system,
            )
            of_target = [
                replace(each, readiness=each.readiness.with_names(names))
                if each.readiness
                else each
                for each in of_target
            ]
        named += of_target
    return named


async def _local_derivations(graph: Graph, destination: Destination | None) -> frozenset[StorePath]:
    """The derivations that were the machine's own to build when the generations were made.

    A generation has the ``.drv`` files of all that its target is made of, and the outputs of what
    is not built: a derivation that it has, and no output of it, was to be built.
    """
    generations = [] if destination is None else await destination.generations()
    newest: dict[str, Generation] = {each.target: each for each in generations}
    local: set[StorePath] = set()
    for generation in newest.values():
        kept = {*generation.paths, *generation.missing}
        local |= {
            path
            for path in graph.derivations.keys() & kept
            if kept.isdisjoint(graph[path].output_paths())
        }
    return frozenset(local)
