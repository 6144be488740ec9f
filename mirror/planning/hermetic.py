"""What a hermetic test or a container must hold, so that targets can be rebuilt in it offline.

Those are the inputs of the derivations that the machine builds itself: paths of caches, sources,
and the files that evaluation put into the store. Derivations are not among them, nor what the
evaluation reads: whoever rebuilds evaluates a tree of their own.

Three forms of the same: the paths; those from which all others are reached, as an expression for
``closureInfo`` of Nixpkgs; the graph, for Graphviz.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.planning.graph import in_order, package_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mirror.formats.store_path import StorePath
    from mirror.planning.graph import Graph
    from mirror.planning.plan import Plan, TargetPlan


@dataclass(frozen=True)
class Export:
    """The plan of targets for an empty destination, seen as what their rebuild starts from.

    ``sources`` are what the paths that evaluation made refer to.
    """

    plan: Plan
    graph: Graph
    sources: Mapping[StorePath, tuple[StorePath, ...]]

    @functools.cached_property
    def build(self) -> frozenset[StorePath]:
        """The derivations that the machine builds itself."""
        return frozenset(self.plan.build)

    @functools.cached_property
    def references(self) -> Mapping[StorePath, tuple[StorePath, ...]]:
        """All paths, sorted, with what each refers to (itself left out): they are closed."""
        references: dict[StorePath, tuple[StorePath, ...]] = {}
        for target in self.plan.targets:
            for path, availability in target.wanted.items():
                if path in target.kept and availability.info is not None:
                    references[path] = availability.info.references
            references |= dict.fromkeys(target.fetch.keys() & target.kept, ())
        made = {source for each in self.build for source in self.graph[each].input_sources}
        # A cache's path may refer to a source, which then is taken from where evaluation put it.
        made |= {each for names in references.values() for each in names if each in self.sources}
        for path in in_order(made, lambda each: self.sources.get(each, ())):
            references.setdefault(path, self.sources.get(path, ()))
        return {
            path: tuple(each for each in references[path] if each != path and each in references)
            for path in sorted(references)
        }

    @functools.cached_property
    def roots(self) -> tuple[StorePath, ...]:
        """The fewest paths whose closure has them all: those that no other refers to."""
        referred = {each for names in self.references.values() for each in names}
        return tuple(path for path in self.references if path not in referred)


def closure_info_lines(export: Export, names: Mapping[StorePath, str]) -> Iterator[str]:
    """Write the roots as a Nix list, which can be pasted where Nixpkgs wants paths.

    ``names`` are expressions in the first target's package set, ``pkgs.openssh.dev``, that are
    known to be paths. The others are named as a flake may, where ``builtins.storePath`` is not
    allowed: as strings that say by themselves which path they depend on.
    """
    targets = [_words(each.target.name) for each in export.plan.targets]
    yield "# paste behind `rootPaths =` of closureInfo, or `virtualisation.additionalPaths =` of a"
    yield f"# test's node: what it takes to rebuild {', '.join(targets)} without a network"
    named = sorted({names[path] for path in export.roots if path in names})
    stored = [path for path in export.roots if path not in names]
    if named:
        yield f"# pkgs is the package set of {targets[0]}: nixosConfigurations.NAME.pkgs of a flake"
    if stored:
        yield "let stored = path: builtins.appendContext path { ${path}.path = true; }; in"
    yield "["
    yield from (f"  {each}" for each in named)
    yield from sorted(f'  (stored "{path}") # {_described(export, path)}' for path in stored)
    yield "]"


def dot_lines(export: Export) -> Iterator[str]:
    """Write the graph in Graphviz's language: what is built with what, and what refers to what.

    Targets are bold boxes, the derivations that are built plain ones, paths ellipses. Edges of
    build time are solid, those of run time dashed.
    """
    yield "digraph prefetch {"
    yield "  rankdir=LR;"
    for target in export.plan.targets:
        node = _quoted(f"target {target.target.name}")
        yield f"  {node} [label={_quoted(target.target.name)}, shape=box, style=bold];"
        for each in _starts(export, target):
            yield f"  {node} -> {_quoted(each)};"
    for derivation in export.plan.build:
        label = derivation.name.removesuffix(".drv")
        yield f"  {_quoted(derivation)} [label={_quoted(label)}, shape=box];"
        for each in _inputs(export, derivation):
            yield f"  {_quoted(derivation)} -> {_quoted(each)};"
    for path, references in export.references.items():
        yield f"  {_quoted(path)} [label={_quoted(path.name)}];"
        for each in references:
            yield f"  {_quoted(path)} -> {_quoted(each)} [style=dashed];"
    yield "}"


def _starts(export: Export, target: TargetPlan) -> list[StorePath]:
    """What a target and its edits are: derivations that are built, else paths."""
    roots = [target.root, *(each.root for each in target.edits if each.root is not None)]
    return list(
        dict.fromkeys(
            each for root in roots for each in _made(export, root, export.graph[root].outputs)
        )
    )


def _inputs(export: Export, derivation: StorePath) -> list[StorePath]:
    """What a derivation is built with: derivations that are built themselves, and paths."""
    needed = [
        path
        for each, names in sorted(export.graph[derivation].input_derivations.items())
        for path in _made(export, each, names)
    ]
    sources = export.graph[derivation].input_sources
    needed += [path for path in sources if path in export.references]
    return list(dict.fromkeys(needed))


def _made(export: Export, derivation: StorePath, names: Iterable[str]) -> Iterator[StorePath]:
    """Outputs of a derivation: itself if it is built, else those that are had as paths."""
    if derivation in export.build:
        yield derivation
        return
    for path in export.graph[derivation].output_paths(names):
        if path in export.references:
            yield path


def _described(export: Export, path: StorePath) -> str:
    makers = export.graph.makers.get(path)
    return _words(package_name(export.graph[makers[0]])) if makers else "a file of its Nix code"


def _words(text: str) -> str:
    """A text on one line, whatever is in it."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _quoted(text: str) -> str:
    """Write a string as Graphviz reads it; in a label it takes a backslash for an escape."""
    escaped = _words(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
