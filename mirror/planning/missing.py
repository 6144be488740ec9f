"""What Nix would copy and build for some wishes: its ``queryMissing``, with signatures. No I/O.

A dry run of Nix's does not look at signatures, and calls a path "to be fetched" that a real run
refuses, and builds. Here a cache has a path only if Nix would take it from there. Where all is
signed, the answer is a dry run's. Source: Nix's ``src/libstore/misc.cc``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.planning.client_settings import address
from mirror.planning.graph import substitutes_allowed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.planning.client_settings import InForce
    from mirror.planning.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a cache says of a path. ``keys`` are those by which a signature of it is good.

    ``is_by_content``: its content makes its name, so that it needs no signature. Caches are named
    by :func:`.address`.
    """

    cache: str
    info: PathInfo
    download_bytes: int | None
    keys: frozenset[str]
    is_by_content: bool

    @property
    def signers(self) -> tuple[str, ...]:
        """The names of all keys by which there are signatures of it, good or not."""
        return tuple(sorted({text.partition(":")[0] for text in self.info.signatures}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What Nix takes from whom: ``caches`` in the order in which they are asked."""

    caches: tuple[str, ...]
    keys: frozenset[str]
    unsigned: frozenset[str]
    """The caches whose paths need no signature."""

    @classmethod
    def of(cls, settings: InForce, priorities: Mapping[str, int]) -> Taking:
        """What settings come to; of caches without a priority nothing is known."""
        known = [each for each in map(address, settings.substituters) if each in priorities]
        caches = sorted(dict.fromkeys(known), key=lambda each: priorities[each])
        return cls(
            caches=tuple(caches) if settings.substitute else (),
            keys=frozenset(settings.keys),
            unsigned=frozenset(each for each in caches if not settings.needs_signatures(each)),
        )

    def chosen(self, claims: Iterable[Claimed]) -> Claimed | None:
        """The claim that Nix goes by; None if there is none that it believes."""
        by_cache = {each.cache: each for each in claims}
        for cache in self.caches:
            claim = by_cache.get(cache)
            if claim is not None and self.believes(claim):
                return claim
        return None

    def believes(self, claim: Claimed) -> bool:
        """Whether Nix takes the path from there."""
        return (
            claim.is_by_content
            or claim.cache in self.unsigned
            or not self.keys.isdisjoint(claim.keys)
        )


@dataclass(slots=True)
class Missing:
    """What would be copied, with the claims that Nix goes by, and what would be built.

    ``unknown`` is what nothing gives. ``refused`` is what caches have and are not believed about.
    ``questions`` are paths that have to be looked up before all this is known.
    """

    copy: dict[StorePath, Claimed] = field(default_factory=dict)
    build: set[StorePath] = field(default_factory=set)
    unknown: set[StorePath] = field(default_factory=set)
    refused: dict[StorePath, tuple[Claimed, ...]] = field(default_factory=dict)
    questions: set[StorePath] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What has been looked up: the paths that are valid, and what caches say of the others."""

    valid: Collection[StorePath]
    claims: Mapping[StorePath, tuple[Claimed, ...]]


def missing(
    wanted: Iterable[StorePath],
    graph: Graph,
    known: Known,
    taking: Taking,
    *,
    always_substitute: bool = False,
) -> Missing:
    """Say what Nix would do to have paths, and all outputs of the derivations of the graph.

    ``always_substitute`` is Nix's setting ``always-allow-substitutes``.
    """
    search = _Search(graph, known, taking, always_substitute=always_substitute)
    for path in wanted:
        search.ask_for(path)
    return search.finish()


class _Search:
    """One answer in the making, from what is known."""

    def __init__(
        self, graph: Graph, known: Known, taking: Taking, *, always_substitute: bool
    ) -> None:
        self._graph = graph
        self._known = known
        self._taking = taking
        self._always_substitute = always_substitute
        self._found = Missing()
        self._todo: deque[tuple[StorePath, frozenset[str] | None]] = deque()
        """Paths; or derivations, with the outputs that are wanted."""

    def ask_for(self, path: StorePath) -> None:
        """Want a path, or all outputs of a derivation, which Nix may have to copy first."""
        is_derivation = path in self._graph
        if not is_derivation or (self._is_looked_up(path) and not self._is_valid(path)):
            self._todo.append((path, None))
        if is_derivation and (self._is_valid(path) or self._chosen(path) is not None):
            self._todo.append((path, frozenset(self._graph[path].outputs)))

    def finish(self) -> Missing:
        """Follow what is wanted to its end, or to where something has to be looked up."""
        seen = set()
        while self._todo:
            want = self._todo.popleft()
            if want not in seen:
                seen.add(want)
                path, outputs = want
                if outputs is None:
                    self._want_path(path)
                else:
                    self._want_outputs(path, outputs)
        return self._found

    def _want_path(self, path: StorePath) -> None:
        if not self._is_looked_up(path) or self._is_valid(path):
            return
        claim = self._chosen(path)
        if claim is not None:
            self._found.copy[path] = claim
            self._todo.extend((each, None) for each in claim.info.references)
        else:
            self._found.unknown.add(path)
            self._note_refused(path)

    def _want_outputs(self, path: StorePath, outputs: frozenset[str]) -> None:
        derivation = self._graph[path]
        made = derivation.output_paths(sorted(outputs))
        # Each that is not known is a question, not the first alone.
        unknown = [each for each in made if not self._is_looked_up(each)]
        if unknown:
            return
        is_whole = len(made) == len(outputs)
        invalid = [each for each in made if not self._is_valid(each)]
        if is_whole and not invalid:
            return
        if self._always_substitute or substitutes_allowed(derivation):
            if is_whole and all(self._chosen(each) for each in invalid):
                self._todo.extend((each, None) for each in invalid)
                return
            for each in invalid:
                self._note_refused(each)
        self._found.build.add(path)
        inputs = derivation.input_derivations.items()
        self._todo.extend((each, frozenset(names)) for each, names in inputs)

    def _is_looked_up(self, path: StorePath) -> bool:
        """Whether it is known where the path is; if not, that is a question."""
        if self._is_valid(path) or path in self._known.claims:
            return True
        self._found.questions.add(path)
        return False

    def _is_valid(self, path: StorePath) -> bool:
        return path in self._known.valid

    def _chosen(self, path: StorePath) -> Claimed | None:
        return self._taking.chosen(self._known.claims.get(path, ()))

    def _note_refused(self, path: StorePath) -> None:
        """Note that caches in use have the path, if none of them is believed about it."""
        claims = self._known.claims[path]
        refused = tuple(each for each in claims if each.cache in self._taking.caches)
        if refused and not any(map(self._taking.believes, refused)):
            self._found.refused[path] = refused
