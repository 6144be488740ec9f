"""Manifests: a generation as JSON, the same in every destination.

The members are those of :class:`~mirror.destinations.generation.Generation`, ``created`` in ISO
8601, hashes in SRI.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from mirror.destinations.documents import Kind, count, moment, name
from mirror.destinations.generation import Generation
from mirror.formats.hashes import Hash
from mirror.formats.store_path import StorePath
from mirror.nix.flake_inputs import LockedInput

if TYPE_CHECKING:
    from collections.abc import Mapping


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
        "sources": {path: each.sri for path, each in generation.sources.items()},
        "inputs": [dataclasses.asdict(each) for each in generation.inputs],
    }


def _generation(document: Mapping[str, Any]) -> Generation:
    return Generation(
        target=name(document["target"]),
        number=count(document["number"]),
        installable=name(document["installable"]),
        level=name(document["level"]),
        root=StorePath.parse(document["root"]),
        created=moment(document["created"]),
        paths=tuple(StorePath.parse(path) for path in document["paths"]),
        nar_bytes=count(document["nar_bytes"]),
        missing=tuple(StorePath.parse(path) for path in document["missing"]),
        sources={
            StorePath.parse(path): Hash.parse(text) for path, text in document["sources"].items()
        },
        inputs=tuple(_input(each) for each in document["inputs"]),
    )


def _input(document: Mapping[str, Any]) -> LockedInput:
    modified = document["last_modified"]
    return LockedInput(
        name=name(document["name"]),
        path=StorePath.parse(document["path"]),
        last_modified=None if modified is None else count(modified),
    )


MANIFEST: Final = Kind(noun="manifest", members=_members, value=_generation)
