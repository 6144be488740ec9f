"""Generations: what one sync of one target made ready, as every destination keeps it.

A generation's document is its manifest, the same in every destination. The members are those of
:class:`Generation`, ``created`` in ISO 8601, hashes in SRI. ``vouched`` has for each public key
(``name:base64``) the places of its paths in ``paths``, from 0: a manifest may have thousands of
paths, most of them signed by one key. It and ``outputs`` are left out where they were not recorded,
as in manifests of earlier versions.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mirror.destinations.records.documents import Kind, count, moment, name, refused
from mirror.formats.hashes import Hash
from mirror.formats.signing import PublicKey
from mirror.formats.store_path import StorePath
from mirror.nix.evaluation.flake_inputs import LockedInput
from mirror.planning import refusals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from mirror.planning.refusals import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A generation, the result of one sync of one target: the content of its manifest.

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


def _members(generation: Generation) -> dict[str, Any]:
    return {
        "target": generation.target,
        "number": generation.number,
        "installable": generation.installable,
        "level": generation.level,
        "root": generation.root,
        "created": generation.created.isoformat(timespec="seconds"),
        "nar_bytes": generation.nar_bytes,
        "paths": generation.paths,
        "missing": generation.missing,
        # Documents of before there were refusals are rendered as they were written.
        **({"refused": refusals.as_members(generation.refused)} if generation.refused else {}),
        "sources": {path: each.sri for path, each in generation.sources.items()},
        "inputs": [dataclasses.asdict(each) for each in generation.inputs],
        **({"outputs": generation.outputs} if generation.outputs else {}),
        **({} if generation.vouched is None else {"vouched": _places(generation)}),
        **({} if generation.private is None else {"private": generation.private}),
    }


def _places(generation: Generation) -> dict[str, str]:
    """By key the places of its paths, as ranges in one text: ``0-4 7``."""
    place = {path: number for number, path in enumerate(generation.paths)}
    return {
        str(key): _as_ranges(sorted(place[path] for path in paths if path in place))
        for key, paths in (generation.vouched or {}).items()
    }


def _as_ranges(numbers: Iterable[int]) -> str:
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return " ".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def _of_ranges(text: str, paths: Sequence[StorePath]) -> frozenset[StorePath]:
    found: set[StorePath] = set()
    for word in text.split():
        low, _, high = word.partition("-")
        first, last = int(low), int(high or low)
        if not 0 <= first <= last < len(paths):
            raise ValueError(f"not positions among {len(paths)} paths: {word}")
        found.update(paths[first : last + 1])
    return frozenset(found)


def _generation(document: Mapping[str, Any]) -> Generation:
    paths = tuple(StorePath.parse(path) for path in document["paths"])
    vouched = document.get("vouched")
    private = document.get("private")
    return Generation(
        target=name(document["target"]),
        number=count(document["number"]),
        installable=name(document["installable"]),
        level=name(document["level"]),
        root=StorePath.parse(document["root"]),
        created=moment(document["created"]),
        paths=paths,
        nar_bytes=count(document["nar_bytes"]),
        missing=tuple(StorePath.parse(path) for path in document["missing"]),
        refused=refused(document),
        sources={
            StorePath.parse(path): Hash.parse(text) for path, text in document["sources"].items()
        },
        inputs=tuple(_input(each) for each in document["inputs"]),
        outputs=tuple(StorePath.parse(path) for path in document.get("outputs", ())),
        vouched=None
        if vouched is None
        else {PublicKey.parse(key): _of_ranges(text, paths) for key, text in vouched.items()},
        private=None if private is None else tuple(StorePath.parse(path) for path in private),
    )


def _input(document: Mapping[str, Any]) -> LockedInput:
    modified = document["last_modified"]
    return LockedInput(
        name=name(document["name"]),
        path=StorePath.parse(document["path"]),
        last_modified=None if modified is None else count(modified),
    )


MANIFEST: Final = Kind(noun="manifest", members=_members, value=_generation)
