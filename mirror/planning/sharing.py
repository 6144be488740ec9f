"""Which of a target's paths clients may have, and which stay private.

To build, a client needs what the derivations refer to. It does not need what only evaluation reads:
the flake's own source, with whatever files are in it, its inputs, and fetched files. Those are
served only if anybody can fetch them anyway, or if the list says so (``public=``); ``private=``
keeps more of them private.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mirror.planning.graph import in_order

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from mirror.formats.store_path import StorePath
    from mirror.planning.lists.targets import Target

SELF: Final = "self"
"""What a list calls the flake itself."""
ALL: Final = "all"
"""What a list calls all that evaluation reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """``private`` are the paths that are given to nobody else.

    ``exposed`` are names of what would be private, and is given all the same, since derivations
    refer to it; with their paths.
    """

    private: frozenset[StorePath] = frozenset()
    exposed: Mapping[str, StorePath] = field(default_factory=dict)


GIVEN: Final = Sharing()
"""Everything is given."""


def share(
    target: Target,
    *,
    evaluated: Mapping[StorePath, tuple[StorePath, ...]],
    needed: Collection[StorePath],
    names: Mapping[str, StorePath],
    fetchable: Collection[StorePath],
) -> Sharing:
    """Decide who is given what.

    ``evaluated`` are all paths that only the evaluating store has, each with those that it refers
    to; ``needed`` those that have to be given for a build. ``names`` are of what evaluation reads;
    ``fetchable`` of that is what anybody can fetch.
    """
    named = {ALL: frozenset(evaluated), **{name: frozenset({path}) for name, path in names.items()}}
    open_ = set(fetchable).intersection(evaluated)
    for name in target.public:
        open_ |= named.get(name, frozenset())
    for name in target.private:
        open_ -= named.get(name, frozenset())
    derivations = [path for path in evaluated if path.is_derivation]
    given = set(in_order([*derivations, *needed], lambda path: evaluated.get(path, ())))
    exposed = {name: path for name, path in names.items() if path in given and path not in open_}
    given |= set(in_order(open_, lambda path: evaluated.get(path, ())))
    return Sharing(private=frozenset(evaluated.keys() - given), exposed=exposed)


def unknown_names(target: Target, names: Collection[str]) -> list[str]:
    """The names of ``private=`` and ``public=`` that mean nothing."""
    known = {SELF, ALL, *names}
    return [name for name in (*target.private, *target.public) if name not in known]


def exposed_lines(exposed: Mapping[str, StorePath]) -> Iterator[str]:
    """Notices about paths that would be private, but have to be given to clients."""
    for name, path in exposed.items():
        yield f"what builds it refers to {path}, which is {called(name)}: so clients are given it"


def called(name: str) -> str:
    """How to describe an evaluation input to a person, by its name."""
    return "the flake itself" if name == SELF else name
