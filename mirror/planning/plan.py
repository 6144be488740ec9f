"""The plan: for each target what is wanted, and for all together what must be done.

:func:`start` says what a target's level wants; somebody answers the questions of the
:class:`~mirror.planning.wants.Wants` that it returns; :func:`finish` turns the result into a
:class:`TargetPlan`, and :func:`merge` makes the :class:`Plan` of all targets.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from mirror.planning.graph import in_order
from mirror.planning.lists.targets import Level
from mirror.planning.sharing import GIVEN
from mirror.planning.wants import Rules, Unobtainable, Wants

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.planning.availability import Availability, Offer
    from mirror.planning.fetchers.fixed_outputs import FixedOutput
    from mirror.planning.graph import Graph
    from mirror.planning.lists.targets import Target
    from mirror.planning.presence import Presence
    from mirror.planning.refusals import Refusal
    from mirror.planning.sharing import Sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class EditPlan:
    """What an edit of a target comes to.

    ``root`` is the root derivation of the target with the edit; without one, ``problem`` says why,
    and whether that is an error or the edit only does not apply. ``paths`` and ``nar_bytes`` are
    what it alone adds to the target (the size of sources at their origins is not known before).
    """

    name: str
    root: StorePath | None = None
    problem: str | None = None
    is_applicable: bool = True
    paths: int = 0
    nar_bytes: int = 0


AS_CHOSEN: Final = "evaluated as "
"""How a notice begins that says which output of a flake a name stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A package or an edit that does not fit into its target's budget; ``nar_bytes`` it takes."""

    kind: Literal["package", "edit"]
    name: str
    nar_bytes: int

    def __str__(self) -> str:
        return f"the {self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlan:
    """What one target wants.

    ``level`` is what was planned for, which can be more than the list asked for; ``notices`` say
    why, and what else its owner should know. ``wanted`` are the held and offered paths;
    ``evaluated`` are those that only the evaluating store has, the root ``.drv`` closure with the
    sources that evaluation made, each with the paths that it refers to. ``kept`` are those of them
    all that the target's generation keeps: what only served to fetch a source is not.
    ``private`` are those of ``evaluated`` that are given to nobody else; ``exposed`` names what
    would be, and is given all the same, since derivations refer to it. ``left_out`` is what the
    target's budget had no room for, in the order of its leaving.

    ``refused`` is what caches have of it and is not believed, and nothing else supplies but a
    build; ``built_for_refusals`` are those of ``build`` that nobody would build otherwise, and
    ``lacking`` are the refused paths that the generation would keep.
    """

    target: Target
    root: StorePath
    level: Level
    wanted: Mapping[StorePath, Availability]
    fetch: Mapping[StorePath, FixedOutput]
    evaluated: Mapping[StorePath, tuple[StorePath, ...]]
    build: frozenset[StorePath]
    unobtainable: Mapping[StorePath, Unobtainable]
    kept: frozenset[StorePath]
    private: frozenset[StorePath] = frozenset()
    exposed: Mapping[str, StorePath] = field(default_factory=dict)
    edits: tuple[EditPlan, ...] = ()
    notices: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    refused: tuple[Refusal, ...] = ()
    built_for_refusals: frozenset[StorePath] = frozenset()
    lacking: frozenset[StorePath] = frozenset()

    @property
    def paths(self) -> frozenset[StorePath]:
        """Everything that has to be at the destination."""
        return frozenset((*self.wanted, *self.fetch, *self.evaluated))


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitution:
    """A path that comes from a cache."""

    path: StorePath
    offer: Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is to be done, each path once.

    ``build`` is in an order that can be built, the others are sorted by path. ``copy`` are paths
    of the evaluating store that the destination lacks, with the paths that each refers to.
    ``present`` are the paths that are there with all that they refer to; ``incomplete`` are held,
    each with what it refers to that is not there.
    ``damaged`` are paths that count as lacking because the destination's files of them are not
    what was written, each with what is wrong.
    """

    targets: tuple[TargetPlan, ...]
    build: tuple[StorePath, ...]
    substitute: tuple[Substitution, ...]
    fetch: tuple[FixedOutput, ...]
    copy: Mapping[StorePath, tuple[StorePath, ...]]
    present: tuple[StorePath, ...]
    unobtainable: tuple[Unobtainable, ...]
    incomplete: Mapping[StorePath, tuple[StorePath, ...]] = field(default_factory=dict)
    damaged: Mapping[StorePath, str] = field(default_factory=dict)

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """What caches have and is not believed, of all targets, by path."""
        return tuple(sorted({each for target in self.targets for each in target.refused}))

    @property
    def built_for_refusals(self) -> tuple[StorePath, ...]:
        """Those of ``build`` that are built only because something was refused."""
        built = {
            path for target in self.targets for path in target.build - target.built_for_refusals
        }
        return tuple(path for path in self.build if path not in built)

    @property
    def download_bytes(self) -> int:
        """What the caches will send, as far as they vouch for it (origins do not)."""
        return sum(each.offer.download_bytes or 0 for each in self.substitute)

    @property
    def nar_bytes(self) -> int:
        """The size of the substituted paths, uncompressed, as far as it is trusted."""
        return sum(each.offer.nar_bytes or 0 for each in self.substitute)

    @property
    def missing(self) -> int:
        """How many paths the destination lacks."""
        return len(self.missing_paths)

    @property
    def missing_paths(self) -> frozenset[StorePath]:
        """The paths that the destination lacks."""
        substituted = (each.path for each in self.substitute)
        return frozenset((*substituted, *(each.path for each in self.fetch), *self.copy))

    def in_reference_order(self) -> list[StorePath]:
        """The missing paths, each after those that it refers to.

        Raises:
            FormatError: what the caches say makes a cycle.

        """
        references: dict[StorePath, tuple[StorePath, ...]] = {
            **{each.path: each.offer.info.references for each in self.substitute},
            **{each.path: () for each in self.fetch},
            **self.copy,
        }
        return in_order(
            references,
            lambda path: [each for each in references[path] if each in references],
        )


def start(
    target: Target,
    roots: Sequence[StorePath],
    graph: Graph,
    rules: Rules,
    held: Mapping[StorePath, PathInfo],
) -> tuple[Wants, tuple[str, ...]]:
    """Say what a target's level wants, and what its owner should be told about the request.

    The first of ``roots`` is the target's own, the others are those of its edits: what they do not
    share with it is rebuilt when the edit is made.
    """
    wants = Wants(graph, rules, held=held)
    root, *edited_roots = roots
    for edited in edited_roots:
        wants.want_outputs(edited, graph[edited].outputs)
    output_paths = graph[root].output_paths()
    if target.level is Level.RUNTIME and all(path in held for path in output_paths):
        for path in output_paths:
            wants.want_path(path)
    else:
        wants.want_outputs(root, graph[root].outputs)
    _want_level(target.level, roots, graph, wants)
    notices = []
    if target.raised:
        reachable = graph.reachable(roots)
        for name, level in target.raised:
            named = graph.named(name, reachable)
            _want_level(level, named, graph, wants)
            if not named:
                notices.append(
                    f"nothing in its build graph is called {name}, so {level.word}="
                    f"{name} adds nothing"
                )
    return wants, tuple(notices)


def finish(
    target: Target,
    root: StorePath,
    *,
    wants: Wants,
    unobtainable: Mapping[StorePath, Unobtainable],
    lasting: Wants,
    evaluated: Mapping[StorePath, tuple[StorePath, ...]],
    sharing: Sharing = GIVEN,
    edits: tuple[EditPlan, ...] = (),
    notices: Iterable[str] = (),
    allow_refused: bool = False,
) -> TargetPlan:
    """Make a target's plan of wants that have no more questions.

    ``unobtainable`` are those of the wants, with all that is known of the reasons; ``lasting`` are
    the wants of the same target without fetchers; ``evaluated`` is the root ``.drv`` closure, each
    path with those that it refers to, and ``sharing`` what of it is given to others.
    ``allow_refused``: the user goes on without what is refused.
    """
    level = target.level
    notices = list(notices)
    built_for_refusals = wants.built_for_refusals()
    if level is Level.RUNTIME and root in wants.build:
        level = Level.REBUILD
        believed = "that is believed " if root in built_for_refusals else ""
        notices.append(
            f"no cache {believed}has its outputs, so what it refers to is known only once it is "
            "built: planned for level rebuild instead of runtime"
        )
    if level is Level.RUNTIME:
        needed = in_order(wants.evaluated, lambda path: evaluated.get(path, ()))
        evaluated = {path: evaluated[path] for path in needed}
    return TargetPlan(
        target=target,
        root=root,
        level=level,
        wanted=wants.paths,
        fetch=wants.fetch,
        evaluated=evaluated,
        build=frozenset(wants.build),
        unobtainable=unobtainable,
        kept=frozenset((*lasting.paths, *lasting.fetch, *evaluated)),
        private=sharing.private & evaluated.keys(),
        exposed=sharing.exposed,
        edits=edits,
        notices=tuple(notices),
        refused=tuple(
            replace(each, allowed=allow_refused)
            for path in sorted(wants.refused)
            for each in wants.refused[path]
        ),
        built_for_refusals=built_for_refusals,
        lacking=frozenset(lasting.refused),
    )


def merge(targets: Iterable[TargetPlan], graph: Graph, kept: Presence) -> Plan:
    """Join the plans of all targets; ``kept`` is what the destination has."""
    targets = tuple(targets)
    wanted = {path: each for target in targets for path, each in target.wanted.items()}
    fetch = {path: each for target in targets for path, each in target.fetch.items()}
    copy = {path: each for target in targets for path, each in target.evaluated.items()}
    build = {path for target in targets for path in target.build}
    unobtainable = {path: each for target in targets for path, each in target.unobtainable.items()}
    held = {path: kept.held[path] for path in (*wanted, *copy) if path in kept.held}
    substitute = {
        path: each.offer
        for path, each in wanted.items()
        if path not in held and each.offer is not None
    }
    made = build | {maker for path in fetch for maker in graph.makers[path]}
    in_turn = in_order(made, lambda path: graph[path].input_derivations.keys() & made)
    return Plan(
        targets=targets,
        build=tuple(path for path in in_turn if path in build),
        substitute=tuple(
            Substitution(path=path, offer=offer) for path, offer in sorted(substitute.items())
        ),
        fetch=tuple(each for path, each in sorted(fetch.items())),
        copy={
            path: references
            for path, references in sorted(copy.items())
            if path not in held and path not in substitute and path not in fetch
        },
        present=tuple(sorted(held.keys() & kept.there)),
        incomplete={
            path: tuple(each for each in info.references if each != path and each not in kept.there)
            for path, info in sorted(held.items())
            if path not in kept.there
        },
        unobtainable=tuple(each for path, each in sorted(unobtainable.items())),
    )


def _want_level(level: Level, roots: Iterable[StorePath], graph: Graph, wants: Wants) -> None:
    """Want what ``sources`` and ``full`` add; the lower levels add nothing to the root itself."""
    if level < Level.SOURCES:
        return
    for path in graph.reachable(roots):
        for name, output in graph[path].outputs.items():
            if level is Level.FULL or output.is_fixed:
                wants.want_outputs(path, [name])
