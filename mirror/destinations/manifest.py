"""Manifests: a generation as JSON, the same in every destination.

One object; ``version`` is 1, the other members are those of
:class:`~mirror.destinations.generation.Generation`, ``created`` in ISO 8601, hashes in SRI.
"""

from __future__ import annotations

import dataclasses
import json
import urllib.parse
from datetime import datetime
from typing import Any, Final

from mirror.destinations.generation import Generation
from mirror.errors import FormatError
from mirror.formats.hashes import Hash
from mirror.formats.store_path import StorePath
from mirror.nix.flake_inputs import LockedInput

_VERSION: Final = 1


def render(generation: Generation) -> bytes:
    """Write a manifest."""
    document = {
        "version": _VERSION,
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
    return json.dumps(document, indent=1).encode() + b"\n"


def parse(data: bytes) -> Generation:
    """Read a manifest.

    Raises:
        FormatError: it is not one that this version wrote.

    """
    try:
        document = json.loads(data)
        if document["version"] != _VERSION:
            raise FormatError(f"a manifest of version {document['version']!r}, not {_VERSION}")
        return Generation(
            target=str(document["target"]),
            number=int(document["number"]),
            installable=str(document["installable"]),
            level=str(document["level"]),
            root=StorePath.parse(document["root"]),
            created=datetime.fromisoformat(document["created"]),
            paths=tuple(StorePath.parse(path) for path in document["paths"]),
            nar_bytes=int(document["nar_bytes"]),
            missing=tuple(StorePath.parse(path) for path in document["missing"]),
            sources={
                StorePath.parse(path): Hash.parse(text)
                for path, text in document["sources"].items()
            },
            inputs=tuple(_input(each) for each in document["inputs"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"not a manifest: {error!r}") from error


def _input(document: dict[str, Any]) -> LockedInput:
    modified = document["last_modified"]
    return LockedInput(
        name=str(document["name"]),
        path=StorePath.parse(document["path"]),
        last_modified=None if modified is None else int(modified),
    )


def file_name(target: str) -> str:
    """``target`` as one component of a file name: no separator, never hidden, never special."""
    quoted = urllib.parse.quote(target, safe="+@=,")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted
