"""Generations: what one sync of one target made ready, as every destination keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from mirror.formats.hashes import Hash
    from mirror.formats.signing import PublicKey
    from mirror.formats.store_path import StorePath
    from mirror.nix.flake_inputs import LockedInput
    from mirror.planning.refusals import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What one sync of one target made ready: the manifest.

    ``number`` counts from 1 for each target; ``root`` is the target's root derivation;
    ``paths`` (sorted) are all the paths that the generation keeps, closed under references;
    ``nar_bytes`` is the sum of their NARs' sizes; ``created`` is in UTC. ``missing`` (sorted) are
    the paths that were wanted and could not be had: with any, the generation is incomplete.
    ``refused`` is what caches had then, was not believed and was had from nobody else; where that
    was allowed it is not among those missing.

    ``sources`` are those of the paths that are plain files known by their hash, as a hashed mirror
    is asked for them; ``inputs`` are those that are inputs of the target's flake, and given to
    others. ``private`` (sorted) are the paths that are given to nobody else; None is not known, as
    of before there was this member.

    ``outputs`` are what the root derivation makes, whether kept or not; none where its manifest is
    of before this was recorded. ``vouched`` are the paths that each trusted key had signed when the
    generation was kept (:mod:`mirror.planning.vouching`); None where that was not recorded.
    """

    target: str
    number: int
    installable: str
    level: str
    root: StorePath
    created: datetime
    paths: tuple[StorePath, ...]
    nar_bytes: int
    missing: tuple[StorePath, ...] = ()
    refused: tuple[Refusal, ...] = ()
    sources: Mapping[StorePath, Hash] = field(default_factory=dict)
    inputs: tuple[LockedInput, ...] = ()
    outputs: tuple[StorePath, ...] = ()
    vouched: Mapping[PublicKey, frozenset[StorePath]] | None = None
    private: tuple[StorePath, ...] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What is kept for a target at a time, and which of it is for nobody else."""

    target: str
    paths: Collection[StorePath]
    private: Collection[StorePath]


def claims(generations: Iterable[Generation]) -> list[Claim]:
    """What generations keep, those first that are older; without those of which it is not known."""
    return [
        Claim(each.target, each.paths, each.private)
        for each in sorted(generations, key=lambda each: each.number)
        if each.private is not None
    ]


def private_paths(found: Iterable[Claim]) -> frozenset[StorePath]:
    """The paths that are given to nobody else: those that no target gives.

    Of a target, its last claim decides about what is in it, and the earlier ones about the rest.
    """
    private: set[StorePath] = set()
    given: dict[str, set[StorePath]] = {}
    for each in found:
        private.update(each.private)
        of_target = given.setdefault(each.target, set())
        of_target |= set(each.paths)
        of_target -= set(each.private)
    return frozenset(private.difference(*given.values()))
