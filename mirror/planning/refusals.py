"""Refusals: paths that a cache has but cannot be trusted for, and how they are reported.

A path that another cache provides with a valid signature is not refused, nor is a source that is
fetched from its origin instead. A refused path is never treated as missing: it is a failure, unless
the user allows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.quantities import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.formats.store_path import StorePath

_NAMED: Final = 3

WRONG: Final = "it serves wrong data: tell its owner, or leave it out with --substituter"
"""What to do about a cache whose answer is not what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Refusal:
    """A path that ``cache`` has and that was not taken from it.

    ``reason`` says why, ``hint`` what to do about it; ``signers`` are the names of the keys whose
    signatures the cache has of it. ``allowed``: the user goes on without it (--allow-refused).
    """

    path: StorePath
    cache: str
    reason: str
    hint: str
    signers: tuple[str, ...] = ()
    allowed: bool = False


def failing(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """The refusals that the user has not allowed."""
    return tuple(each for each in refusals if not each.allowed)


def paths(refusals: Iterable[Refusal]) -> int:
    """How many paths were refused: several caches may have one of them."""
    return len({each.path for each in refusals})


def summary(refusals: Iterable[Refusal]) -> Iterator[tuple[str, str]]:
    """For each cache and what is wrong there a line on the paths, and what to do about it."""
    groups: dict[tuple[str, tuple[str, ...], str, bool], list[Refusal]] = {}
    for each in refusals:
        groups.setdefault((each.cache, each.signers, each.hint, each.allowed), []).append(each)
    for (cache, _, hint, allowed), group in groups.items():
        names = ", ".join(each.path.name for each in group[:_NAMED])
        more = ", …" if len(group) > _NAMED else ""
        word = "refused, as allowed" if allowed else "refused"
        what = f"{number(paths(group), 'path')} that {cache} has ({names}{more})"
        yield f"{word}: {what}: {group[0].reason}", hint


def as_members(refusals: Iterable[Refusal]) -> list[dict[str, Any]]:
    """Refusals as JSON has them, in every document."""
    return [
        {
            "path": each.path,
            "cache": each.cache,
            "reason": each.reason,
            "signers": list(each.signers),
            "hint": each.hint,
            "allowed": each.allowed,
        }
        for each in refusals
    ]
