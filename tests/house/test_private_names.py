"""No library is used by a name that is private to it: those change without a word.

That none is looked up on an object is the linter's to see (SLF001); here it is what is imported.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]


def private_imports(text: str) -> Iterator[str]:
    """The names with an underscore that a module imports from others than ours."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            origin = node.module or ""
            names = [f"{origin}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != "mirror" and any(_is_private(part) for part in parts):
                yield name


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def test_the_program_uses_none() -> None:
    for path in sorted((PROJECT / "mirror").rglob("*.py")):
        text = path.read_text()
        assert not list(private_imports(text)), path
        assert "SLF001" not in text, path
        assert "sys.modules" not in text, path


@pytest.mark.parametrize(
    "text", ["from httpx._client import AsyncClient", "import httpx._main", "from os import _wrap"]
)
def test_one_would_be_found(text: str) -> None:
    assert list(private_imports(text))


def test_what_is_ours_of_http_stays_small() -> None:
    """The rest is libcurl's; of what we write ourselves, a fault is ours alone."""
    files = (PROJECT / "mirror/sources/http").glob("*.py")
    assert sum(len(file.read_text().splitlines()) for file in files) <= 700
