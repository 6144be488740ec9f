"""Why a path is wanted: the shortest chain from a target to it.

A step is *built with* (an input of a derivation that is built) or *refers to* (a path that is
there at run time, too). A chain may go from a derivation to its output and on along references, as
wants do: what is built needs its inputs, and those need what they refer to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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

    ``references`` gives what a path refers to, as far as that is known (a destination knows it of
    what it holds).
    """

    def __init__(
        self, graph: Graph, references: Callable[[StorePath], Iterable[StorePath]]
    ) -> None:
        self._graph = graph
        self._references = references

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
            for reference in sorted(self._references(path)):
                if reference != path:
                    yield "refers to", reference
            return
        for source in derivation.input_sources:
            yield "is built with", source
        for each, names in sorted(derivation.input_derivations.items()):
            yield "is built with", each
            outputs = self._graph[each].outputs
            for name in names:
                output = outputs[name].path if name in outputs else None
                if output is not None:
                    yield "is built with", output
        for name in sorted(derivation.outputs):
            output = derivation.outputs[name].path
            if output is not None:
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
