"""Every JSON document that the program writes is compared with its schema before it is written.

This directory is on PYTHONPATH of the processes that tests start, and Python imports a module of
this name at its start; the tests' own process calls :func:`install`. A document that has a member
which its schema does not announce, or lacks one, then fails of it.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from mirror import schemas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema import Draft202012Validator

_encode = schemas.encode


def install() -> None:
    """Have documents compared from now on."""
    schemas.encode = compared


def compared(name: str, members: Mapping[str, Any]) -> str:
    """Write the document, if it is what its schema says."""
    text = _encode(name, members)
    errors = [
        f"{error.json_path}: {error.message[:500]}"
        for error in validator(name).iter_errors(json.loads(text))
    ]
    if errors:
        raise AssertionError("\n".join((f"a document is not as {name}.json says:", *errors)))
    return text


@functools.cache
def validator(name: str) -> Draft202012Validator:
    """What compares documents with a schema."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - few processes need it

    schema = json.loads(schemas.schema_text(name))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


if __name__ == "sitecustomize":
    install()
