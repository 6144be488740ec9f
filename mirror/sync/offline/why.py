"""``why``: what leads from a target to a path, who asked for it, and how large it is.

Like ``check`` it touches no network; what is built and what is there already is as the destination
has it now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import EvaluationError, RequestError
from mirror.nix.closure import closure
from mirror.nix.evaluation.evaluate import Evaluated
from mirror.nix.evaluation.needs import evaluation_needs
from mirror.nix.protocol import daemon
from mirror.planning.chains import Chains, Step, raised_by
from mirror.planning.lists.targets import Level
from mirror.sync.prepare import evaluate_offline

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from mirror.destinations import Destination
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.planning.graph import Graph
    from mirror.planning.lists.targets import Target
    from mirror.sync.prepare import Evaluation
    from mirror.sync.report import Observer

_AT_RUN_TIME: Final = {"makes", "refers to"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The steps that lead to a path from a target, or from an edit of it."""

    edit: str | None
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a path is wanted.

    ``ways`` lead to it, the shortest first. ``asked_by`` are the options of the target that ask for
    it, as a list has them (``level=rebuild``, ``edits=wifi``); without any, it is only something
    that the target's build graph has. ``nar_bytes`` is its size, ``closure_bytes`` that of it and
    all that it refers to; None where the destination does not have it.
    """

    path: StorePath
    ways: tuple[Way, ...]
    asked_by: tuple[str, ...]
    nar_bytes: int | None
    closure_bytes: int | None


async def why(
    target: Target,
    wanted: str,
    nix: Nix,
    observer: Observer,
    *,
    store: str | None,
    destination: Destination,
) -> list[Reason]:
    """Explain each path that is called ``wanted`` (itself, its name, or its package's name).

    Those that are asked for come first, and of them the nearest to the target. Those that nothing
    leads to are left out.

    Raises:
        EvaluationError: the target cannot be evaluated offline.
        RequestError: nothing in its build graph is called so.

    """
    evaluation = await evaluate_offline([target], nix, observer, store=store)
    ((_, result),) = evaluation.results
    if not isinstance(result, Evaluated):
        raise result
    graph = evaluation.graph
    held = await closure({*graph.makers, *graph.input_sources}, destination.held)
    found = [_Reasons(result, graph, held).of(path) for path in _called(wanted, graph, held)]
    if not any(reason.asked_by for reason in found):
        found = [*await _evaluated_with(wanted, result, evaluation, destination), *found]
    if not found:
        raise RequestError(
            f"nothing that {target.name} is made of is called {wanted}",
            hint="give a store path, its name, or a package's name",
        )
    explained = {reason.path: reason for reason in reversed(found) if reason.ways}
    return sorted(explained.values(), key=_order)


def _order(reason: Reason) -> tuple[bool, int, StorePath]:
    return not reason.asked_by, len(reason.ways[0].steps), reason.path


def _is_called(wanted: str, path: StorePath) -> bool:
    return wanted in {path, path.name, path.hash_part}


def _called(wanted: str, graph: Graph, held: Collection[StorePath]) -> list[StorePath]:
    known = {*graph.derivations, *graph.makers, *graph.input_sources, *held}
    paths = {path for path in known if _is_called(wanted, path)}
    if not paths:
        named = graph.named(wanted, graph.derivations)
        paths = {each for path in named for each in graph[path].output_paths()}
    return sorted(paths)


async def _evaluated_with(
    wanted: str, evaluated: Evaluated, evaluation: Evaluation, destination: Destination
) -> list[Reason]:
    """Explain what is kept for evaluating the target again, which level runtime does not ask for.

    What the store of the evaluation does not have it cannot tell of.
    """
    if evaluated.target.level is Level.RUNTIME:
        return []
    nix, store = evaluation.nix, evaluation.store
    try:
        async with daemon.connect(nix, store) as connection:
            needs = await evaluation_needs(nix, evaluated, store=store, connection=connection)
    except EvaluationError:
        return []
    called = [path for path in needs.references if _is_called(wanted, path)]
    held = await closure(called, destination.held)
    return [
        Reason(
            path=path,
            ways=(Way(edit=None, steps=(Step("is evaluated with", path),)),),
            asked_by=(f"level={Level.REBUILD.word}",),
            nar_bytes=held[path].nar_size if path in held else None,
            closure_bytes=_closure_bytes(path, held) if path in held else None,
        )
        for path in called
    ]


class _Reasons:
    """The reasons of one target's paths."""

    def __init__(
        self, evaluated: Evaluated, graph: Graph, held: Mapping[StorePath, PathInfo]
    ) -> None:
        self._target = evaluated.target
        self._graph = graph
        self._held = held
        self._references = {path: info.references for path, info in held.items()}
        self._root = evaluated.root
        self._edited = {
            each.edit.name: each.root for each in evaluated.edits if each.root is not None
        }
        self._roots = evaluated.roots

    def of(self, path: StorePath) -> Reason:
        ways, asked_by = self._ways(path)
        info = self._held.get(path)
        return Reason(
            path=path,
            ways=tuple(sorted(ways, key=lambda way: len(way.steps))),
            asked_by=asked_by,
            nar_bytes=None if info is None else info.nar_size,
            closure_bytes=None if info is None else _closure_bytes(path, self._held),
        )

    def _ways(self, path: StorePath) -> tuple[list[Way], tuple[str, ...]]:
        """The ways that say most, and the options that ask for what they lead to."""
        is_runtime = self._target.level is Level.RUNTIME and all(
            output in self._held for output in self._graph[self._root].output_paths()
        )
        if ways := list(self._wanted(None, self._root, path)):
            at_run_time = any(_AT_RUN_TIME.issuperset(_relations(way)) for way in ways)
            level = Level.RUNTIME if at_run_time else Level.REBUILD
            return ways, () if is_runtime and not at_run_time else (f"level={level.word}",)
        for name, root in self._edited.items():
            ways += self._wanted(name, root, path)
        if ways:
            return ways, tuple(f"edits={name}" for name in dict.fromkeys(way.edit for way in ways))
        chains = Chains(self._graph, self._references, whole=True)
        ways = [Way(edit=None, steps=steps) for steps in chains.every(self._root, path)]
        if ways and not is_runtime and (path.is_derivation or path in self._graph.input_sources):
            return ways, (f"level={Level.REBUILD.word}",)
        if not ways:
            ways = [
                Way(edit=name, steps=steps)
                for name, root in self._edited.items()
                for steps in chains.every(root, path)
            ]
        return ways, raised_by(self._target, self._roots, path, self._graph)

    def _wanted(self, edit: str | None, root: StorePath, path: StorePath) -> Iterator[Way]:
        chains = Chains(self._graph, self._references)
        return (Way(edit=edit, steps=steps) for steps in chains.every(root, path))


def _closure_bytes(path: StorePath, held: Mapping[StorePath, PathInfo]) -> int:
    """The size of a path and of all that it refers to, as far as it is there."""
    paths: set[StorePath] = set()
    unread = {path}
    while unread:
        paths |= unread
        unread = {each for path in unread for each in held[path].references if each in held} - paths
    return sum(held[each].nar_size for each in paths)


def _relations(way: Way) -> set[str]:
    return {step.relation for step in way.steps}
