"""Manifests: a generation as JSON, the same in every destination.

The members are those of :class:`~mirror.destinations.generation.Generation`, ``created`` in ISO
8601, hashes in SRI. ``vouched`` has for each public key (``name:base64``) the places of its paths
in ``paths``, from 0: a manifest may have thousands of paths, most of them signed by one key. It and
``outputs`` are left out where they were not recorded, as in manifests of earlier versions.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from mirror.destinations.documents import Kind, count, moment, name, refused
from mirror.destinations.generation import Generation
from mirror.formats.hashes import Hash
from mirror.formats.signing import PublicKey
from mirror.formats.store_path import StorePath
from mirror.nix.flake_inputs import LockedInput
from mirror.planning import refusals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


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
            raise ValueError(f"no places among {len(paths)} paths: {word}")
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
