"""Readiness: whether a derivation can be built with no network, and if not, what is missing.

Offline, Nix builds what is not valid, and what that needs, and so on down; it fails when it comes
to a fixed output, which nobody can fetch. So a derivation is ready exactly if no fixed output is
among what would be built. (What would be built needlessly is ready too, if slowly.)

What a person wants to hear is not the hundred sources at the bottom but the one tool at the top
whose absence led there. A derivation that the machine builds itself anyway (the system, its units,
its wrappers) is no such cause; the first ones below it that it would not build otherwise are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mirror.planning.graph import is_machine_specific, substitutes_allowed

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping

    from mirror.formats.store_path import StorePath
    from mirror.planning.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A cause of not being ready.

    ``paths`` are the missing outputs of one derivation, or one source; ``derivation`` makes them,
    None for a source that only evaluation makes. ``chain`` are the derivations from the root down
    to the one that needs it; ``cascade`` is how many derivations Nix would build in its stead.
    ``names`` are Nix expressions of ``paths``, where such are known: ``pkgs.gettext``.
    """

    paths: tuple[StorePath, ...]
    derivation: StorePath | None
    chain: tuple[StorePath, ...]
    cascade: int
    names: Mapping[StorePath, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether a root can be built offline: it is ready if nothing is ``missing``.

    ``build`` is what Nix would build, ready or not.
    """

    build: frozenset[StorePath]
    missing: tuple[Missing, ...]

    @property
    def is_ready(self) -> bool:
        """Whether it can be built."""
        return not self.missing

    def with_names(self, names: Mapping[StorePath, str]) -> Readiness:
        """The same, with names of what is missing."""
        return replace(self, missing=tuple(replace(each, names=names) for each in self.missing))


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """What there is without a network.

    ``valid`` are paths of the store that builds. ``cached`` are paths of a cache that this store
    may substitute from, with all that they refer to; a derivation that forbids substitution is
    built all the same. ``local`` are derivations known to be the machine's own to build.
    ``evaluated`` are sources that are there because evaluation makes them.
    """

    graph: Graph
    valid: Container[StorePath]
    cached: Container[StorePath] = frozenset()
    local: Collection[StorePath] = frozenset()
    evaluated: Container[StorePath] = frozenset()

    def believing(self, paths: Collection[StorePath]) -> Offline:
        """The same as if ``paths`` were there, too."""
        return replace(self, valid=_Either(self.valid, paths))

    def would_build(self, derivation: StorePath, outputs: Iterable[str]) -> set[StorePath]:
        """The derivations that Nix would build for outputs of one."""
        build: set[StorePath] = set()
        seen: set[tuple[StorePath, tuple[str, ...]]] = set()
        todo = [(derivation, tuple(outputs))]
        while todo:
            want = todo.pop()
            if want in seen:
                continue
            seen.add(want)
            path, names = want
            if self._absent(path, names) and path not in build:
                build.add(path)
                todo.extend(self.graph[path].input_derivations.items())
        return build

    def can_build(self, derivation: StorePath, outputs: Iterable[str]) -> bool:
        """Whether Nix would succeed in making outputs of a derivation."""
        return not self._stuck(self.would_build(derivation, outputs))

    def readiness(self, root: StorePath, *, anew: bool = False) -> Readiness:
        """Whether all outputs of ``root`` can be built; with ``anew``, also if they are there."""
        build = self.would_build(root, self.graph[root].outputs)
        if anew:
            build.add(root)
            for path, names in self.graph[root].input_derivations.items():
                build |= self.would_build(path, names)
        stuck = self._stuck(build)
        return Readiness(build=frozenset(build), missing=tuple(self._causes(root, stuck)))

    def _absent(self, derivation: StorePath, names: Iterable[str]) -> list[StorePath | None]:
        """The wanted outputs that have to be built; one that is known only then is None."""
        outputs = self.graph[derivation].outputs
        paths = [outputs[name].path for name in names if name in outputs]
        absent = [path for path in paths if path is None or path not in self.valid]
        is_cached = all(path is not None and path in self.cached for path in absent)
        return [] if is_cached and substitutes_allowed(self.graph[derivation]) else absent

    def _absent_sources(self, derivation: StorePath) -> list[StorePath]:
        return [
            source
            for source in self.graph[derivation].input_sources
            if not any(source in each for each in (self.valid, self.cached, self.evaluated))
        ]

    def _stuck(self, build: Collection[StorePath]) -> set[StorePath]:
        """Those of ``build`` that cannot be built: sources to fetch, and all that needs them."""
        stuck: set[StorePath] = set()
        for path in self.graph.build_graph(build):
            if path not in build:
                continue
            if (
                self.graph[path].is_fixed
                or self._absent_sources(path)
                or any(
                    each in stuck and self._absent(each, names)
                    for each, names in self.graph[path].input_derivations.items()
                )
            ):
                stuck.add(path)
        return stuck

    def _causes(self, root: StorePath, stuck: Container[StorePath]) -> list[Missing]:
        """The first derivations below ``root`` that are stuck and not the machine's own."""
        if root not in stuck:
            return []
        chains: dict[StorePath, tuple[StorePath, ...]] = {root: ()}
        wanted = {root: set(self.graph[root].outputs)}
        sources: dict[StorePath, tuple[StorePath, ...]] = {}
        first: list[StorePath] = []
        todo = deque([root])
        while todo:
            path = todo.popleft()
            if self.graph[path].is_fixed or (path != root and not self._is_own(path)):
                first.append(path)
                continue
            below = (*chains[path], path)
            for source in self._absent_sources(path):
                sources.setdefault(source, below)
            for each, names in sorted(self.graph[path].input_derivations.items()):
                if each in stuck and self._absent(each, names):
                    wanted.setdefault(each, set()).update(names)
                    if each not in chains:
                        chains[each] = below
                        todo.append(each)
        causes = [self._cause(path, wanted[path], chains[path]) for path in first]
        return [
            *self._needed(causes),
            *(
                Missing(paths=(source,), derivation=None, chain=chain, cascade=0)
                for source, chain in sources.items()
            ),
        ]

    def _cause(
        self, derivation: StorePath, names: Iterable[str], chain: tuple[StorePath, ...]
    ) -> Missing:
        names = sorted(names)
        return Missing(
            paths=tuple(path for path in self._absent(derivation, names) if path is not None),
            derivation=derivation,
            chain=chain,
            cascade=len(self.would_build(derivation, names)),
        )

    def _needed(self, causes: list[Missing]) -> list[Missing]:
        """Leave out the causes that the machine would build once it has the others."""
        needed = sorted(causes, key=lambda each: -each.cascade)
        for cause in tuple(needed):
            assert cause.derivation is not None
            others = {path for each in needed if each is not cause for path in each.paths}
            if not others:
                break
            with_others = replace(self, valid=_Either(self.valid, others))
            names = self.graph[cause.derivation].outputs
            if with_others.can_build(cause.derivation, names):
                needed.remove(cause)
        return needed

    def _is_own(self, path: StorePath) -> bool:
        """Whether the machine builds it itself also when nothing is missing."""
        return path in self.local or is_machine_specific(self.graph[path])


@dataclass(frozen=True, slots=True)
class _Either:
    """What is in one of two containers."""

    one: Container[StorePath]
    other: Container[StorePath]

    def __contains__(self, path: object) -> bool:
        return path in self.one or path in self.other
