"""The build graph: the derivations that a target's root is made of.

A graph is the closure of some roots under *input derivation*. It answers what a derivation's
outputs are, which derivations make a path, and in which order things can be built.
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import FormatError
from mirror.planning.fetchers.attributes import Attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from mirror.formats.derivation import Derivation
    from mirror.formats.store_path import StorePath

_VERSION = re.compile(r"-(?![A-Za-z])")


@dataclass(frozen=True)
class Graph:
    """Derivations by path; every input derivation of one of them is another."""

    derivations: Mapping[StorePath, Derivation]

    def __getitem__(self, path: StorePath) -> Derivation:
        return self.derivations[path]

    def __contains__(self, path: StorePath) -> bool:
        return path in self.derivations

    @functools.cached_property
    def makers(self) -> Mapping[StorePath, tuple[StorePath, ...]]:
        """For each output path, the derivations that make it.

        Fixed outputs can have several: the same file fetched by an early and a late ``curl``.
        """
        makers: dict[StorePath, tuple[StorePath, ...]] = {}
        for path, derivation in self.derivations.items():
            for output in derivation.output_paths():
                others = makers.get(output)
                makers[output] = (path,) if others is None else tuple(sorted((*others, path)))
        return makers

    @functools.cached_property
    def input_sources(self) -> frozenset[StorePath]:
        """The paths that evaluation put into the store itself: files, patches, scripts."""
        # Most derivations have the same few: the lists are told apart before their elements.
        lists = {derivation.input_sources for derivation in self.derivations.values()}
        return frozenset(itertools.chain.from_iterable(lists))

    def build_graph(self, roots: Iterable[StorePath]) -> list[StorePath]:
        """The derivations reachable from ``roots``, each after its input derivations."""
        return in_order(roots, lambda path: self.derivations[path].input_derivations)

    def reachable(self, roots: Iterable[StorePath]) -> list[StorePath]:
        """The same derivations, in the order in which the graph has them: it takes less time."""
        reached = set(roots)
        todo = list(reached)
        while todo:
            found = self.derivations[todo.pop()].input_derivations.keys() - reached
            reached |= found
            todo += found
        return [path for path in self.derivations if path in reached]

    def named(self, name: str, among: Collection[StorePath]) -> list[StorePath]:
        """Those of ``among`` that make the package ``name``."""
        return [path for path in among if package_name(self.derivations[path]) == name]


def in_order(
    roots: Iterable[StorePath], before: Callable[[StorePath], Iterable[StorePath]]
) -> list[StorePath]:
    """Everything reachable from ``roots``, each after what ``before`` says must come first.

    The order depends on the arguments alone. A path that is named as its own predecessor is
    no cycle: store paths may refer to themselves.

    Raises:
        FormatError: there is a cycle.

    """
    ordered: list[StorePath] = []
    done: dict[StorePath, bool] = {}
    for root in sorted(roots):
        if root in done:
            continue
        done[root] = False
        stack: list[tuple[StorePath, Iterator[StorePath]]] = [(root, iter(sorted(before(root))))]
        while stack:
            path, predecessors = stack[-1]
            for predecessor in predecessors:
                finished = done.get(predecessor)
                if finished is None:
                    done[predecessor] = False
                    stack.append((predecessor, iter(sorted(before(predecessor)))))
                    break
                if not finished and predecessor != path:
                    raise FormatError(f"{path} and {predecessor} need each other")
            else:
                stack.pop()
                done[path] = True
                ordered.append(path)
    return ordered


def substitutes_allowed(derivation: Derivation) -> bool:
    """Whether the derivation itself lets Nix take its outputs from a cache."""
    attributes = _with(derivation, "allowSubstitutes")
    return (
        attributes is None
        or "allowSubstitutes" not in attributes
        or attributes.text("allowSubstitutes") == "1"
    )


def is_machine_specific(derivation: Derivation) -> bool:
    """Whether it is rebuilt by an edit of the configuration, rather than taken from a cache."""
    attributes = _with(derivation, "preferLocalBuild")
    prefers_local_build = attributes is not None and attributes.text("preferLocalBuild") == "1"
    return prefers_local_build or not substitutes_allowed(derivation)


def _with(derivation: Derivation, name: str) -> Attributes | None:
    """The attributes, None if one that few derivations have is certainly not among them."""
    environment = derivation.environment
    if name not in environment and "__json" not in environment:
        return None
    return Attributes.of(derivation)


def package_name(derivation: Derivation) -> str:
    """``pname``, else the derivation's name without its version."""
    name = Attributes.of(derivation).text("pname")
    return name or _VERSION.split(derivation.path.name.removesuffix(".drv"), maxsplit=1)[0]
