"""What a target needs: Nix's ``queryMissing`` asked of an empty store, as questions and answers.

Nix decides what to build and what to substitute by one recursive rule (``queryMissing`` in
``src/libstore/misc.cc``). :class:`Wants` follows the same rule with three differences, all of them
the purpose of prefetch:

* A fixed output that no cache has is *fetched* from its origin. Its builder's own inputs are
  wanted only if its builder is the one way to make it.
* The output of a local derivation that the destination holds is kept, and its inputs are not
  wanted, unless the derivation is machine-specific: those are what an edit rebuilds.
* A path that is held stands for one that a cache offers, so that a second run asks for nothing.

No I/O happens here. :meth:`Wants.questions` are the paths that somebody must look up, and
:meth:`Wants.answer` takes what they found; more questions may follow, until there are none.
"""

from __future__ import annotations

import operator
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from mirror.errors import FormatError
from mirror.planning.availability import Availability
from mirror.planning.fetchers.fixed_outputs import BuilderOnly, Unfetchable
from mirror.planning.graph import is_machine_specific, substitutes_allowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.planning.fetchers.fixed_outputs import FixedOutput
    from mirror.planning.graph import Graph
    from mirror.planning.refusals import Refusal


_NOWHERE: Final = Availability()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unobtainable:
    """A path that nothing can supply; ``derivation`` makes it, if any does."""

    path: StorePath
    derivation: StorePath | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What has to be known besides the answers.

    ``fixed_output`` recognises a fixed output by its path (all derivations that make it joined);
    ``builder_refusal`` says why a fixed output's builder cannot be run, None if it can;
    ``always_substitute`` is Nix's ``always-allow-substitutes``. Without ``with_fetchers``, fixed
    outputs are taken as fetched already, so that what a builder of theirs needs is not wanted.
    """

    fixed_output: Callable[[StorePath], FixedOutput]
    builder_refusal: Callable[[FixedOutput], str | None]
    always_substitute: bool = False
    with_fetchers: bool = True


class _Outputs(NamedTuple):
    """Wanted outputs of a derivation: those of ``paths``, and unless ``whole`` others, too."""

    derivation: StorePath
    paths: tuple[StorePath, ...]
    whole: bool
    substitutes_allowed: bool
    rebuilt_by_edits: bool


class Wants:
    """The wanted paths and derivations of one graph, found by asking."""

    def __init__(
        self, graph: Graph, rules: Rules, *, held: Mapping[StorePath, PathInfo] | None = None
    ) -> None:
        self._graph = graph
        self._rules = rules
        self._known = {path: Availability(held=info) for path, info in (held or {}).items()}
        self._asked: set[StorePath] = set()
        self._answered: set[StorePath] = set()
        self._questions: list[StorePath] = []
        self._waiting: dict[StorePath, list[StorePath | _Outputs]] = {}
        self._todo: deque[StorePath | _Outputs] = deque()
        self._seen: set[StorePath | tuple[StorePath, tuple[str, ...]]] = set()
        self._referrers: dict[StorePath, StorePath] = {}
        self.paths: dict[StorePath, Availability] = {}
        """The wanted paths that are held or offered, closed under references."""
        self.build: set[StorePath] = set()
        """The local derivations: what the target's machine would build itself."""
        self.fetch: dict[StorePath, FixedOutput] = {}
        """The fixed outputs that must come from their origins."""
        self.evaluated: set[StorePath] = set()
        """The paths that only evaluation made: they are copied from where it put them."""
        self.unobtainable: dict[StorePath, Unobtainable] = {}
        """What nothing can supply."""
        self.refused: dict[StorePath, tuple[Refusal, ...]] = {}
        """What caches have and is not believed, and nothing else supplies but a build."""
        self.wants_fetchers = False
        """Whether any of it is wanted, or would be, for a builder that fetches a source."""
        self._fetchers: dict[StorePath, StorePath] = {}
        """The derivations whose builders fetch sources, by these."""
        self._roots: list[tuple[StorePath, tuple[str, ...]]] = []
        """The outputs that were asked for from outside."""

    def want_outputs(self, derivation: StorePath, outputs: Iterable[str]) -> None:
        """Want outputs of a derivation, whether substituted or built."""
        want = (derivation, _sorted(outputs))
        self._roots.append(want)
        self._want(*want)

    def _want(self, derivation: StorePath, names: tuple[str, ...]) -> None:
        want = (derivation, names)
        if want not in self._seen:
            self._seen.add(want)
            self._todo.append(self._outputs(derivation, names))

    def _outputs(self, derivation: StorePath, names: tuple[str, ...]) -> _Outputs:
        made = self._graph[derivation]
        paths = tuple(made.output_paths(names))
        return _Outputs(
            derivation=derivation,
            paths=paths,
            whole=len(paths) == len(names),
            substitutes_allowed=self._rules.always_substitute or substitutes_allowed(made),
            rebuilt_by_edits=not made.is_fixed and is_machine_specific(made),
        )

    def built_for_refusals(self) -> frozenset[StorePath]:
        """Those of ``build`` that are built only because something was refused."""
        if not self.refused:
            return frozenset()
        seen: set[tuple[StorePath, tuple[str, ...]]] = set()
        built: set[StorePath] = set()
        todo = list(self._roots)
        while todo:
            want = todo.pop()
            if want in seen:
                continue
            seen.add(want)
            outputs = self._outputs(*want)
            if self._is_supplied(outputs, believing=True):
                continue
            built.add(outputs.derivation)
            # The builder of a source that comes from its origin is not run.
            maker = self._fetchers.get(outputs.paths[0]) if outputs.paths else None
            if maker is not None or outputs.derivation in self.build:
                inputs = self._graph[maker or outputs.derivation].input_derivations
                todo += [(path, _sorted(names)) for path, names in inputs.items()]
        return frozenset(self.build - built)

    def want_path(self, path: StorePath) -> None:
        """Want a path by its name, whether substituted or built."""
        if path not in self._seen:
            self._seen.add(path)
            self._todo.append(path)

    def questions(self) -> list[StorePath]:
        """Take the paths to look up; each is asked for once."""
        while self._todo:
            want = self._todo.popleft()
            unknown = self._unknown(want)
            if unknown:
                for path in unknown:
                    if path not in self._asked:
                        self._asked.add(path)
                        self._questions.append(path)
                # Waiting for one is enough: when it is answered, the want looks for the next.
                self._waiting.setdefault(unknown[0], []).append(want)
            elif isinstance(want, _Outputs):
                self._settle_outputs(want)
            else:
                self._settle_path(want)
        questions, self._questions = self._questions, []
        return questions

    def answer(self, path: StorePath, availability: Availability) -> None:
        """Record where a path is."""
        if availability.held is None and path in self._known:
            availability = replace(availability, held=self._known[path].held)
        self._known[path] = availability
        self._answered.add(path)
        self._todo.extend(self._waiting.pop(path, ()))

    def _unknown(self, want: StorePath | _Outputs) -> list[StorePath]:
        """The paths that have to be looked up before the want can be decided."""
        if not isinstance(want, _Outputs):
            is_known = want in self._known or want in self._graph.input_sources
            return [] if is_known else [want]
        if not want.substitutes_allowed:
            return []
        # That a machine-specific output is held does not settle it: did a cache make it, or us?
        known = self._answered if want.rebuilt_by_edits else self._known
        return [path for path in want.paths if path not in known]

    def _settle_outputs(self, want: _Outputs) -> None:
        if self._is_supplied(want):
            for path in want.paths:
                self.want_path(path)
        elif self._graph[want.derivation].is_fixed:
            self._want_fetch(want.paths[0])
        else:
            self.build.add(want.derivation)
            for path in want.paths:
                each = self._known.get(path, _NOWHERE)
                if want.substitutes_allowed:
                    self._note_refusal(path)
                if each.held:
                    self.want_path(path)
                elif each.damage:
                    # Whoever asks the destination is given what is wrong, and builds nothing.
                    self._give_up(path, want.derivation, "")
            self._want_inputs(want.derivation)

    def _is_supplied(self, want: _Outputs, *, believing: bool = False) -> bool:
        """Whether the destination or caches supply them; ``believing``: also what was refused."""
        known = [self._known.get(path, _NOWHERE) for path in want.paths]
        offered = [bool(each.offer or (believing and each.refused)) for each in known]
        held = [each.held is not None for each in known]
        is_offered = want.substitutes_allowed and all(offered)
        is_held = all(held) or (want.substitutes_allowed and all(map(operator.or_, held, offered)))
        return want.whole and (is_offered or (is_held and not want.rebuilt_by_edits))

    def _note_refusal(self, path: StorePath) -> None:
        """Note that caches have a path but are not trusted for it, if nothing else supplies it."""
        known = self._known.get(path, _NOWHERE)
        if known.refused and known.info is None:
            self.refused[path] = known.refused

    def _settle_path(self, path: StorePath) -> None:
        availability = self._known.get(path, _NOWHERE)
        if availability.info is not None:
            self.paths[path] = availability
            for reference in availability.info.references:
                self._referrers.setdefault(reference, path)
                self.want_path(reference)
            return
        makers = self._graph.makers.get(path, ())
        if path in self._graph.input_sources:
            self.evaluated.add(path)
        elif makers and self._graph[makers[0]].is_fixed:
            self._want_fetch(path)
        else:
            referrer = self._referrers.get(path)
            although = f", although {referrer.name} refers to it" if referrer else ""
            self._give_up(path, makers[0] if makers else None, although)

    def _want_fetch(self, path: StorePath) -> None:
        try:
            fixed_output = self._rules.fixed_output(path)
        except FormatError as error:
            self._give_up(path, self._graph.makers[path][0], f"; {error.message}")
            return
        origin = fixed_output.origin
        refusal = None
        if isinstance(origin, Unfetchable):
            refusal = origin.reason
        elif isinstance(origin, BuilderOnly):
            builder_refusal = self._rules.builder_refusal(fixed_output)
            if builder_refusal is None:
                self.wants_fetchers = True
                if self._rules.with_fetchers:
                    self._fetchers[path] = fixed_output.derivation
                    self._want_inputs(fixed_output.derivation)
            elif origin.attempt is None:
                refusal = f"{origin.reason}; {builder_refusal}"
        if refusal is None:
            self.fetch[path] = fixed_output
        else:
            self._give_up(path, fixed_output.derivation, f"; {refusal}")

    def _give_up(self, path: StorePath, derivation: StorePath | None, why: str) -> None:
        """Record that nothing can supply a path, and first what the destination has of it."""
        self._note_refusal(path)
        damage = self._known.get(path, _NOWHERE).damage
        reason = f"{damage}; no cache has it" if damage else "no cache has it"
        self.unobtainable[path] = Unobtainable(
            path=path, derivation=derivation, reason=f"{reason}{why}"
        )

    def _want_inputs(self, derivation: StorePath) -> None:
        for path, outputs in self._graph[derivation].input_derivations.items():
            self._want(path, _sorted(outputs))


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    names = tuple(names)
    return tuple(sorted(names)) if len(names) > 1 else names
