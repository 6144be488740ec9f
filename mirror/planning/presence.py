"""Which paths are there: those that can be used, with everything that they refer to.

A destination can hold a path whose references it lacks: a copy of it was interrupted, a file was
removed or damaged. Nix uses a path only together with its closure, so such a path is not *there*.
What Nix does instead depends on what is wrong with the closure:

- a path that is absent, or as good as absent (its NAR is missing, or nobody trusted signed it), has
  no substitute, and what refers to it is *incomplete*: Nix builds it if it can;
- a path that is there by its name and turns out to be damaged (a narinfo that cannot be read, a NAR
  that is cut short or altered, a path of the store's database that is gone from the disk) is
  *broken*, and so is what refers to it: Nix fails.

A path whose closure has both is incomplete, since Nix looks for the references first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """What is wrong with a path of which a destination has at least a part.

    ``problem`` is a clause about ``file``, which is below the destination: ``it is missing``. A
    flaw that ``is_fatal`` makes Nix fail; with any other, Nix goes on as if the path were absent.
    """

    file: str
    problem: str
    is_fatal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a destination has of one path, whatever has become of its references.

    ``info`` is None only where there is a ``flaw`` because of which it cannot be known.
    """

    info: PathInfo | None = None
    flaw: Flaw | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Which of some paths, and of everything they refer to, are present.

    ``held`` are the paths without a flaw of their own, ``flaws`` what is wrong with others; a path
    in neither is absent. ``there`` are the held paths whose whole closure is held. ``incomplete``
    and ``broken`` are the other paths that are not absent, as explained above.
    """

    held: Mapping[StorePath, PathInfo] = field(default_factory=dict)
    flaws: Mapping[StorePath, Flaw] = field(default_factory=dict)
    there: frozenset[StorePath] = frozenset()
    incomplete: frozenset[StorePath] = frozenset()
    broken: frozenset[StorePath] = frozenset()

    def lacking(self, path: StorePath) -> tuple[StorePath, ...]:
        """The paths that have to be obtained for ``path`` to be there: itself, or references."""
        lacking: set[StorePath] = set()
        seen = {path}
        todo = [path]
        while todo:
            each = todo.pop()
            info = self.held.get(each)
            if info is None:
                lacking.add(each)
                continue
            found = {other for other in info.references if other not in self.there} - seen
            seen |= found
            todo += found
        return tuple(sorted(lacking - self.there))

    def beside(self, valid: Collection[StorePath]) -> Presence:
        """The same for a client that has ``valid`` paths itself, which are *there* for it.

        Nix does not look in a cache for what it has, not even for the sake of what refers to it.
        """
        own = frozenset(valid)
        found = {path: Found(info=info) for path, info in self.held.items() if path not in own}
        found.update(
            (path, Found(flaw=flaw)) for path, flaw in self.flaws.items() if path not in own
        )
        needed = {path for each in found.values() if each.info for path in each.info.references}
        rest = presence_of(found, needed - found.keys() - own)
        return replace(rest, there=rest.there | own)


def whole(found: Mapping[StorePath, Found]) -> dict[StorePath, PathInfo]:
    """The paths that have no flaw of their own."""
    return {
        path: each.info
        for path, each in found.items()
        if each.info is not None and each.flaw is None
    }


def presence_of(found: Mapping[StorePath, Found], absent: Collection[StorePath]) -> Presence:
    """Decide which paths are there; ``found`` and ``absent`` are closed under references."""
    held: dict[StorePath, PathInfo] = {}
    flaws: dict[StorePath, Flaw] = {}
    referrers: dict[StorePath, list[StorePath]] = {}
    for path, each in found.items():
        if each.flaw is not None:
            flaws[path] = each.flaw
        elif each.info is not None:
            held[path] = each.info
            for reference in each.info.references:
                if reference != path:
                    referrers.setdefault(reference, []).append(path)
    gone = {*absent, *(path for path, flaw in flaws.items() if not flaw.is_fatal)}
    incomplete = _leading_to(gone, referrers) - gone
    fatal = {path for path, flaw in flaws.items() if flaw.is_fatal}
    broken = _leading_to(fatal, referrers) - incomplete
    return Presence(
        held=held,
        flaws=flaws,
        there=frozenset(held.keys() - incomplete - broken),
        incomplete=frozenset(incomplete),
        broken=frozenset(broken),
    )


def _leading_to(
    paths: Iterable[StorePath], referrers: Mapping[StorePath, Iterable[StorePath]]
) -> set[StorePath]:
    """The paths, and all that refer to one of them, directly or not."""
    reached = set(paths)
    todo = deque(reached)
    while todo:
        for referrer in referrers.get(todo.popleft(), ()):
            if referrer not in reached:
                reached.add(referrer)
                todo.append(referrer)
    return reached
