"""The documentation's links lead somewhere, and nothing of a merge is left in it."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

import pytest
from rig.nixes import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")])


def prose(page: Path) -> str:
    """A page without its examples."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links, as forges name them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    dropped = str.maketrans("", "", string.punctuation.replace("-", "").replace("_", ""))
    return {heading.lower().translate(dropped).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", prose(page))
    for link in links:
        if link.startswith("https://"):
            continue
        name, _, heading = link.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), link
        if heading:
            assert heading in anchors(file), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_of_a_merge_is_left(page: Path) -> None:
    assert not re.search(r"^(<{7}|={7}|>{7})( |$)", page.read_text(), re.MULTILINE)


def test_the_map_names_each_directory() -> None:
    """A newcomer finds every directory of the program, and only those that there are."""
    text = (PROJECT / "README.md").read_text()
    named = {name.strip("/") for name in re.findall(r"`(mirror/[a-z_/]*)`", text)}
    rooms = {
        str(file.parent.relative_to(PROJECT))
        for file in (PROJECT / "mirror").rglob("*.py")
        if file.name != "__init__.py"
    }
    assert named == rooms | {"mirror/schemas"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    parts = "mirror|tests|docs|lists|nix|tools|benchmarks|locks"
    for name in re.findall(rf"`((?:{parts})/[\w./-]*)`", page.read_text()):
        assert (PROJECT / name).exists(), name
