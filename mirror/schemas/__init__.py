"""The JSON documents that the program prints and serves: how they are written, their JSON Schemas.

Each document has a schema here (draft 2020-12), ``NAME.json``, which describes every member and
allows no other: a member comes into a document together with its lines in the schema. The tests
compare every document that they make with it. Every document has ``version``, which changes only
where a member goes or means something else; programs have to expect members that are new.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from mirror.masking import document_without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VERSION", "encode", "names", "schema_text"]

VERSION: Final = 1
"""What ``version`` says in every document."""


def encode(name: str, members: Mapping[str, Any]) -> str:  # noqa: ARG001 - the tests look at it
    """Write the document of which ``name`` names the schema; ``version`` comes first in it.

    Every document goes through here, so that the tests need to look here only. The credentials of
    URLs are left out.
    """
    return json.dumps(document_without_secrets({"version": VERSION, **members}), indent=2)


def names() -> list[str]:
    """What the documents are called."""
    files = (each.name for each in resources.files(__name__).iterdir())
    return sorted(each.removesuffix(".json") for each in files if each.endswith(".json"))


def schema_text(name: str) -> str:
    """Give the schema of a document.

    Raises:
        KeyError: there is none of this name.

    """
    if name not in names():
        raise KeyError(name)
    return (resources.files(__name__) / f"{name}.json").read_text(encoding="utf-8")
