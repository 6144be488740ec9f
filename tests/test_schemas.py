"""The JSON Schemas: each is one, closed and described, and nothing is written past them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from rig.compared.sitecustomize import compared

from mirror import schemas
from mirror.cli.app import leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[1]

ANY_NAME = {"edits", "left_out"}
"""Members whose own members are names of the user's, and can be any."""

NOT_FOR_PROGRAMS = {
    "cli/commands/config.py",  # values as TOML writes them, too
    "demo/upstream.py",  # the demo's distribution
    "destinations/records/documents.py",  # manifests, receipts, run records
    "nix/evaluation/identity.py",  # what is hashed
    "nix/evaluation/memory.py",  # a cache's own rows
    "nix/settings.py",  # what is hashed
    "nix/evaluation/expressions.py",  # strings of the Nix language
    "nix/evaluation/refreshing.py",  # the same
    "sync/refresh/unsettled.py",  # notes that a refresh leaves for the next
}
"""What writes JSON that only the program itself, or Nix, reads."""


def schema(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(schemas.schema_text(name))
    return read


def parts(node: object, way: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each schema within a schema."""
    if isinstance(node, dict):
        if "$ref" in node or "type" in node or "enum" in node or "const" in node or "anyOf" in node:
            yield way, node
        for key, value in node.items():
            yield from parts(value, f"{way}.{key}")
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from parts(value, f"{way}[{place}]")


@pytest.mark.parametrize("name", schemas.names())
def test_each_is_a_schema_that_allows_no_member_it_does_not_describe(name: str) -> None:
    read = schema(name)
    Draft202012Validator.check_schema(read)
    assert read["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "version" in read["required"]
    for way, part in parts(read):
        if part.get("type") != "object":
            continue
        if "properties" not in part:
            assert way.rpartition(".")[2] in ANY_NAME, way
            continue
        assert part["additionalProperties"] is False, way
        assert {*part["required"]} <= part["properties"].keys(), way
        for member, described in part["properties"].items():
            described_at = described.get("$ref", "").rpartition("/")[2]
            definition = read["$defs"][described_at] if described_at else described
            assert described.get("description") or definition["description"], (way, member)


def test_what_two_of_them_define_is_the_same() -> None:
    known: dict[str, Any] = {}
    for name in schemas.names():
        for what, definition in schema(name)["$defs"].items():
            assert known.setdefault(what, definition) == definition, (name, what)


def test_a_sync_has_what_a_plan_has() -> None:
    planned, synced = schema("plan")["properties"], schema("sync")["properties"]
    del planned["room"]  # a sync that has none ends with an error
    assert planned.items() <= synced.items()


def test_an_unannounced_member_fails() -> None:
    """This is what every document that any test makes goes through, in whatever process."""
    members = {"name": "a-1", "public_key": "a-1:…"}
    assert json.loads(schemas.encode("key", members)) == {"version": 1, **members}
    with pytest.raises(AssertionError, match="'more' was unexpected"):
        schemas.encode("key", {**members, "more": 1})
    with pytest.raises(AssertionError, match="'public_key' is a required property"):
        schemas.encode("key", {"name": "a-1"})
    assert schemas.encode is compared


def test_the_page_lists_each() -> None:
    page = (PROJECT / "docs/json.md").read_text()
    link = r"\[\1\.json\]\(\.\./(mirror/schemas/\1\.json)\)"
    rows = re.findall(rf"^\| (\w+) \| .+ \| {link} \|$", page, re.MULTILINE)
    assert sorted(name for name, _ in rows) == schemas.names()
    assert all((PROJECT / file).is_file() for _, file in rows)


def test_each_command_that_reports_has_a_document() -> None:
    silent: set[str] = set()
    reporting: set[str] = set()
    for words, command in leaves():
        options = {each.name for each in command.params}
        (reporting if "json" in options else silent).add(words[0])
    assert silent == {"serve", "demo", "schema", "man"}
    assert reporting <= {*schemas.names()}


def test_no_document_is_written_elsewhere() -> None:
    writing = re.compile(r"\bjson\w*\.dumps?\(")
    found = {
        str(file.relative_to(PROJECT / "mirror"))
        for file in (PROJECT / "mirror").rglob("*.py")
        if writing.search(file.read_text())
    }
    assert found == {"schemas/__init__.py", *NOT_FOR_PROGRAMS}
