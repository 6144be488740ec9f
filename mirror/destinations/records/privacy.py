"""Which of the paths that a destination keeps are private, according to its generations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mirror.destinations.records.generation import Generation
    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True)
class Holding:
    """What is kept for a target at a time, and which of it is private."""

    target: str
    paths: Collection[StorePath]
    private: Collection[StorePath]


def holdings(generations: Iterable[Generation]) -> list[Holding]:
    """What generations keep, those first that are older; without those of which it is not known."""
    return [
        Holding(each.target, each.paths, each.private)
        for each in sorted(generations, key=lambda each: each.number)
        if each.private is not None
    ]


def private_paths(found: Iterable[Holding]) -> frozenset[StorePath]:
    """The private paths: those that no target gives to clients.

    Of a target, its last holding decides about what is in it, and the earlier ones about the rest.
    """
    private: set[StorePath] = set()
    given: dict[str, set[StorePath]] = {}
    for each in found:
        private.update(each.private)
        of_target = given.setdefault(each.target, set())
        of_target |= set(each.paths)
        of_target -= set(each.private)
    return frozenset(private.difference(*given.values()))
