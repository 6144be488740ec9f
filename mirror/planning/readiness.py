"""Readiness: whether a derivation can be built with no network, and if not, what is missing.

Offline, Nix builds what is not valid, and what that needs, and so on down; it fails when it comes
to a fixed output, which nobody can fetch, or to a path that is damaged. So a derivation is ready
exactly if none of these is among what would be built or used. (What would be built needlessly is
ready too, if slowly.)

What a person wants to hear is not the hundred sources at the bottom but the one tool at the top
whose absence led there. A derivation that the machine builds itself anyway (the system, its units,
its wrappers) is no such cause; the first ones below it that it would not build otherwise are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mirror.planning.completion import Completion
from mirror.planning.graph import is_machine_specific, substitutes_allowed
from mirror.planning.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping

    from mirror.formats.store_path import StorePath
    from mirror.planning.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A cause of not being ready.

    ``paths`` are what is missing of the outputs of one derivation, or of one source: these paths,
    or some that they refer to, each of which ``referrers`` then leads back to the output or source.
    ``derivation`` makes the outputs, None for a source or a derivation's own file, which only
    evaluation makes. ``chain`` are the derivations from the root down to the one that needs it;
    ``cascade`` is how many derivations Nix would build in its stead. ``problems`` say what is wrong
    with those of ``paths`` that are damaged. ``names`` are Nix expressions of ``paths``, where such
    are known: ``pkgs.gettext``.
    """

    paths: tuple[StorePath, ...]
    derivation: StorePath | None
    chain: tuple[StorePath, ...]
    cascade: int
    referrers: Mapping[StorePath, StorePath] = field(default_factory=dict, hash=False)
    problems: Mapping[StorePath, str] = field(default_factory=dict, hash=False)
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

    ``valid`` are paths of the store that builds. ``cache`` is what there is in a cache from which
    this store may substitute; a derivation that forbids substitution is built all the same.
    ``damaged`` is what is wrong with valid paths that are not as the store's database says.
    ``local`` are derivations known to be the machine's own to build.

    ``retries``: where substitutes have an incomplete closure, this Nix builds what the derivation
    is made of, and tries to substitute again. (Versions before 2.30 do; later ones build it.)
    """

    graph: Graph
    valid: Container[StorePath]
    cache: Presence = field(default_factory=Presence)
    damaged: Presence = field(default_factory=Presence)
    local: Collection[StorePath] = frozenset()
    retries: bool = False

    def believing(self, paths: Collection[StorePath]) -> Offline:
        """The same, on the assumption that ``paths`` are present, too."""
        return replace(self, valid=_Either(self.valid, paths), cache=self.cache.beside(paths))

    def would_build(self, derivation: StorePath, outputs: Iterable[str]) -> set[StorePath]:
        """The derivations that Nix would build for outputs of one."""
        return self._attempt([(derivation, tuple(outputs))]).build

    def can_build(self, derivation: StorePath, outputs: Iterable[str]) -> bool:
        """Whether Nix would succeed in making outputs of a derivation."""
        return not self._stuck(self._attempt([(derivation, tuple(outputs))]))

    def readiness(
        self, root: StorePath, *, anew: bool = False, with_derivation: bool = False
    ) -> Readiness:
        """Whether all outputs of ``root`` can be built; with ``anew``, also if they are there.

        ``with_derivation``: who builds it has to take the derivation itself from the cache, too.
        """
        wants = [(root, tuple(self.graph[root].outputs))]
        if anew:
            wants += [(path, tuple(each)) for path, each in self._inputs(root)]
        attempt = self._attempt(wants, opened=[root] if anew else [])
        missing = self._causes(root, self._stuck(attempt))
        if with_derivation and root not in self.cache.there:
            missing.insert(0, self._missing([root], derivation=None, chain=()))
        return Readiness(build=frozenset(attempt.build), missing=tuple(missing))

    def _attempt(
        self, wants: Iterable[tuple[StorePath, tuple[str, ...]]], opened: Iterable[StorePath] = ()
    ) -> _Attempt:
        """Follow Nix: what has to be built, what that needs, and what would fail at once.

        Those ``opened`` are built, whatever there is.
        """
        attempt = _Attempt(opened=set(opened))
        seen: set[tuple[StorePath, tuple[str, ...]]] = set()
        todo = list(wants)
        while todo:
            want = todo.pop()
            if want in seen:
                continue
            seen.add(want)
            path, names = want
            if self._broken(path, names):
                attempt.failing.add(path)
            elif absent := self._absent(path, names):
                attempt.absent.setdefault(path, set()).update(absent)
                if path not in attempt.opened:
                    attempt.opened.add(path)
                    todo.extend((each, tuple(needed)) for each, needed in self._inputs(path))
        attempt.build = set(attempt.opened)
        if self.retries and self.cache.incomplete:
            self._substitute_late(attempt)
        return attempt

    def _substitute_late(self, attempt: _Attempt) -> None:
        """Leave out what can be substituted once that is built which its closure lacks."""
        made: set[StorePath] = set()
        completion = Completion(self.cache, made)
        for path in self.graph.build_graph(attempt.opened):
            absent = attempt.absent.get(path)
            if path not in attempt.opened:
                continue
            if (
                absent
                and substitutes_allowed(self.graph[path])
                and all(map(completion.is_complete, absent))
            ):
                attempt.build.discard(path)
            else:
                made.update(self.graph[path].output_paths())

    def _inputs(self, derivation: StorePath) -> Iterable[tuple[StorePath, Iterable[str]]]:
        return sorted(self.graph[derivation].input_derivations.items())

    def _outputs(self, derivation: StorePath, names: Iterable[str]) -> list[StorePath | None]:
        """The paths of outputs; None for one that is known only after its build."""
        outputs = self.graph[derivation].outputs
        return [outputs[name].path for name in names if name in outputs]

    def _absent(self, derivation: StorePath, names: Iterable[str]) -> list[StorePath | None]:
        """The wanted outputs that have to be built."""
        paths = self._outputs(derivation, names)
        absent = [path for path in paths if path is None or path not in self.valid]
        is_cached = all(path is not None and path in self.cache.there for path in absent)
        return [] if is_cached and substitutes_allowed(self.graph[derivation]) else absent

    def _broken(self, derivation: StorePath, names: Iterable[str]) -> list[StorePath]:
        """The wanted outputs at which Nix fails, since it takes them for what they are not."""
        paths = [path for path in self._outputs(derivation, names) if path is not None]
        broken = [path for path in paths if path in self.damaged.broken]
        absent = [path for path in paths if path not in self.valid]
        if any(path in self.cache.broken for path in absent) and substitutes_allowed(
            self.graph[derivation]
        ):
            broken += [path for path in absent if path in self.cache.broken]
        return broken

    def _absent_sources(self, derivation: StorePath) -> list[StorePath]:
        return [
            source
            for source in self.graph[derivation].input_sources
            if source in self.damaged.broken
            or (source not in self.valid and source not in self.cache.there)
        ]

    def _stuck(self, attempt: _Attempt) -> set[StorePath]:
        """What cannot be built: sources to fetch, what is broken, and all that needs these."""
        stuck = set(attempt.failing)
        for path in self.graph.build_graph(attempt.opened):
            if path not in attempt.opened:
                continue
            if (
                (self.graph[path].is_fixed and path in attempt.build)
                or self._absent_sources(path)
                or any(
                    each in stuck and (self._absent(each, names) or self._broken(each, names))
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
            if (
                self.graph[path].is_fixed
                or self._broken(path, wanted[path])
                or (path != root and not self._is_own(path))
            ):
                first.append(path)
                continue
            below = (*chains[path], path)
            for source in self._absent_sources(path):
                sources.setdefault(source, below)
            for each, names in sorted(self.graph[path].input_derivations.items()):
                if each in stuck and (self._absent(each, names) or self._broken(each, names)):
                    wanted.setdefault(each, set()).update(names)
                    if each not in chains:
                        chains[each] = below
                        todo.append(each)
        causes = [self._cause(path, wanted[path], chains[path]) for path in first]
        causes = self._needed(causes)
        causes += [
            self._missing([source], derivation=None, chain=chain)
            for source, chain in sources.items()
        ]
        # Where several derivations' outputs refer to what is lost, it is one cause: the dearest.
        alike: dict[tuple[StorePath, ...], Missing] = {}
        for cause in sorted(causes, key=lambda cause: -cause.cascade):
            alike.setdefault(cause.paths, cause)
        return list(alike.values())

    def _cause(
        self, derivation: StorePath, names: Iterable[str], chain: tuple[StorePath, ...]
    ) -> Missing:
        names = sorted(names)
        broken = self._broken(derivation, names)
        lost = broken or [path for path in self._absent(derivation, names) if path is not None]
        cascade = 0 if broken else len(self.would_build(derivation, names))
        return self._missing(lost, derivation=derivation, chain=chain, cascade=cascade)

    def _missing(
        self,
        lost: Iterable[StorePath],
        *,
        derivation: StorePath | None,
        chain: tuple[StorePath, ...],
        cascade: int = 0,
    ) -> Missing:
        """Name what is lacking of paths that are not there: themselves, or what they refer to."""
        referrers: dict[StorePath, StorePath] = {}
        problems: dict[StorePath, str] = {}
        paths: dict[StorePath, None] = {}
        for path in lost:
            presence = self.damaged if path in self.damaged.broken else self.cache
            is_whole = path in presence.held
            for each in presence.lacking(path) if is_whole else (path,):
                paths[each] = None
                if each != path:
                    referrers.setdefault(each, path)
                if (flaw := presence.flaws.get(each)) is not None:
                    problems[each] = f"{flaw.file} is damaged: {flaw.problem}"
        return Missing(
            paths=tuple(paths),
            derivation=derivation,
            chain=chain,
            cascade=cascade,
            referrers=referrers,
            problems=problems,
        )

    def _needed(self, causes: list[Missing]) -> list[Missing]:
        """Drop the causes that the machine would build once it has the others."""
        needed = sorted(causes, key=lambda each: -each.cascade)
        for cause in tuple(needed):
            assert cause.derivation is not None
            if cause.cascade == 0:
                continue  # nothing else mends what is broken
            others = {
                path
                for each in needed
                if each is not cause
                for path in (*each.paths, *each.referrers.values())
            }
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


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """What Nix would do: ``opened`` derivations are built, if they are in ``build``.

    Of the others among them only what they are made of is realised, and then they are substituted.
    ``absent`` are the outputs that have to come about, by derivation; ``failing`` are derivations
    whose outputs Nix takes for what they are not.
    """

    opened: set[StorePath]
    build: set[StorePath] = field(default_factory=set)
    failing: set[StorePath] = field(default_factory=set)
    absent: dict[StorePath, set[StorePath | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Either:
    """A container with the elements of two others."""

    one: Container[StorePath]
    other: Container[StorePath]

    def __contains__(self, path: object) -> bool:
        return path in self.one or path in self.other
