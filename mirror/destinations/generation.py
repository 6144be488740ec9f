"""Generations: what one sync of one target made ready, as every destination keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mirror.formats.hashes import Hash
    from mirror.formats.signing import PublicKey
    from mirror.formats.store_path import StorePath
    from mirror.nix.flake_inputs import LockedInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What one sync of one target made ready: the manifest.

    ``number`` counts from 1 for each target; ``root`` is the target's root derivation;
    ``paths`` (sorted) are all the paths that the generation keeps, closed under references;
    ``nar_bytes`` is the sum of their NARs' sizes; ``created`` is in UTC. ``missing`` (sorted) are
    the paths that were wanted and could not be had: with any, the generation is incomplete.

    ``sources`` are those of the paths that are plain files known by their hash, as a hashed mirror
    is asked for them; ``inputs`` are those that are inputs of the target's flake.

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
    sources: Mapping[StorePath, Hash] = field(default_factory=dict)
    inputs: tuple[LockedInput, ...] = ()
    outputs: tuple[StorePath, ...] = ()
    vouched: Mapping[PublicKey, frozenset[StorePath]] | None = None
