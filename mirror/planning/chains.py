"""Why a path is wanted: the shortest chain from a target to it.

A step is *built with* (an input of a derivation that is built) or *refers to* (a path that is
there at run time, too). A chain goes as wants do: what is built needs its inputs, an input that is
there needs what it refers to, and one that is not there has to be built itself. What only a raised
level wants (a source of what is never built here) is found by asking for the whole build graph.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mirror.formats.store_path import StorePath
    from mirror.planning.graph import Graph

Relation = Literal["is built with", "makes", "refers to"]


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

    def shortest(self, root: StorePath, path: StorePath) -> tuple[Step, ...] | None:
        """The chain with the fewest steps, None if nothing leads to the path."""
        return next(self.every(root, path), None)

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
        for source in derivation.input_sources:
            yield "is built with", source
        for each, names in sorted(derivation.input_derivations.items()):
            outputs = self._graph[each].output_paths(names)
            for output in outputs:
                yield "is built with", output
            if self._whole or not all(output in self._references for output in outputs):
                yield "is built with", each
        for output in derivation.output_paths(sorted(derivation.outputs)):
            yield "makes", output

    def _chain(
        self, before: dict[StorePath, tuple[StorePath, Relation] | None], end: StorePath
    ) -> list[Step]:
        steps: list[Step] = []
        at = end
        while (previous := before[at]) is not None:
            steps.append(Step(previous[1], at))
            at = previous[0]
        return steps[::-1]
