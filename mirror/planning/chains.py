"""Why a path is wanted: the chains from a target to it.

A step is *built with* (an input of a derivation that is built) or *refers to* (a path that is
there at run time, too). A chain goes as wants do: what is built needs its inputs, an input that is
there needs what it refers to, and one that is not there, or that an edit builds anew, has to be
built itself; a source is fetched, by whatever means. What only a raised level wants (a source of
what is never built here) is found by asking for the whole build graph.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mirror.planning.graph import is_machine_specific
from mirror.planning.lists.targets import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mirror.formats.store_path import StorePath
    from mirror.planning.graph import Graph
    from mirror.planning.lists.targets import Target

Relation = Literal["is built with", "is evaluated with", "makes", "refers to"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a chain: how it is related to the path before it, and the path."""

    relation: Relation
    path: StorePath


class Chains:
    """The ways from one root derivation.

    ``references`` are those of the paths that are there. With ``whole``, chains lead through the
    derivations of what is there, too.
    """

    def __init__(
        self,
        graph: Graph,
        references: Mapping[StorePath, Iterable[StorePath]],
        *,
        whole: bool = False,
    ) -> None:
        self._graph = graph
        self._references = references
        self._whole = whole

    def every(self, root: StorePath, path: StorePath) -> Iterator[tuple[Step, ...]]:
        """One chain for each path that leads directly to ``path``, the shortest first."""
        before: dict[StorePath, tuple[StorePath, Relation] | None] = {root: None}
        ends: list[tuple[StorePath, Relation]] = []
        todo = deque([root])
        while todo:
            at = todo.popleft()
            for relation, following in self._steps(at):
                if following == path:
                    ends.append((at, relation))
                elif following not in before:
                    before[following] = (at, relation)
                    todo.append(following)
        for at, relation in dict.fromkeys(ends):
            yield (*self._chain(before, at), Step(relation, path))

    def _steps(self, path: StorePath) -> Iterator[tuple[Relation, StorePath]]:
        derivation = self._graph.derivations.get(path)
        if derivation is None:
            for reference in sorted(self._references.get(path, ())):
                if reference != path:
                    yield "refers to", reference
            return
        if self._leads_on(path, derivation.outputs):
            for source in derivation.input_sources:
                yield "is built with", source
            for each, names in sorted(derivation.input_derivations.items()):
                for output in self._graph[each].output_paths(names):
                    yield "is built with", output
                if self._leads_on(each, names):
                    yield "is built with", each
        for output in derivation.output_paths(sorted(derivation.outputs)):
            yield "makes", output

    def _leads_on(self, path: StorePath, names: Iterable[str]) -> bool:
        """Whether the inputs of a derivation are wanted, in order to build the named outputs."""
        derivation = self._graph[path]
        if self._whole or derivation.is_fixed:
            return self._whole
        outputs = derivation.output_paths(names)
        is_there = all(output in self._references for output in outputs)
        return is_machine_specific(derivation) or not is_there

    def _chain(
        self, before: dict[StorePath, tuple[StorePath, Relation] | None], end: StorePath
    ) -> list[Step]:
        steps: list[Step] = []
        at = end
        while (previous := before[at]) is not None:
            steps.append(Step(previous[1], at))
            at = previous[0]
        return steps[::-1]


def raised_by(
    target: Target, roots: Iterable[StorePath], path: StorePath, graph: Graph
) -> tuple[str, ...]:
    """The options of a target that ask for a path which only raised levels want.

    As a list has them: ``level=sources``, ``full=dnsmasq``. ``roots`` are the target's derivations.
    """
    makers = graph.makers.get(path, ())

    def asks(level: Level, reached: Iterable[StorePath]) -> bool:
        wanted = [each for each in makers if level is Level.FULL or graph[each].is_fixed]
        return level >= Level.SOURCES and not set(wanted).isdisjoint(reached)

    whole = graph.build_graph(roots)
    raised = [
        f"{level.word}={name}"
        for name, level in target.raised
        if asks(level, graph.build_graph(graph.named(name, whole)))
    ]
    return (f"level={target.level.word}", *raised) if asks(target.level, whole) else tuple(raised)
