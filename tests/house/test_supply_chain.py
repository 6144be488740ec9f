"""What the program is made of: few packages, locked, of known licences, each with a reason."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
LOCKS = {"run": (), "development": ("dev",), "fuzz": ("fuzz",), "release": ("release",)}
"""The lock files, each with the extra that it adds to the program's own dependencies."""

ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0"),
    *("MPL-2.0", "PSF-2.0"),
}
"""What may be used and shipped with a program under the MIT licence."""

SPELLINGS = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
READ_BY_HAND = {"atheris": "Apache-2.0"}
"""Those whose metadata has the licence's whole text, or nothing."""


def project() -> dict[str, Any]:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        named: dict[str, Any] = tomllib.load(file)["project"]
    return named


def requirements(*extras: str) -> list[Requirement]:
    named = project()
    optional = (text for extra in extras for text in named["optional-dependencies"][extra])
    return [Requirement(text) for text in (*named["dependencies"], *optional)]


def locked(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Each package of a lock file, with its hashes."""
    text = (PROJECT / f"locks/{name}.txt").read_text().replace("\\\n", "")
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for line in text.splitlines():
        if line and not line.lstrip().startswith("#"):
            requirement = Requirement(line.partition(" --hash=")[0])
            hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}(?![0-9a-f])", line)
            found[canonicalize_name(requirement.name)] = requirement, hashes
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_each_package_is_locked_to_one_version_and_its_bytes(name: str) -> None:
    for requirement, hashes in locked(name).values():
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes, requirement


@pytest.mark.parametrize("name", LOCKS)
def test_what_is_asked_for_is_locked(name: str) -> None:
    found = locked(name)
    for wanted in requirements(*LOCKS[name]):
        requirement, _ = found[canonicalize_name(wanted.name)]
        (version,) = requirement.specifier
        assert wanted.specifier.contains(version.version), wanted


@pytest.mark.parametrize("name", LOCKS)
def test_locks_agree_and_name_no_index(name: str) -> None:
    texts = {package: str(pinned) for package, (pinned, _) in locked(name).items()}
    program = {package: str(pinned) for package, (pinned, _) in locked("run").items()}
    assert program.items() <= texts.items()
    text = (PROJECT / f"locks/{name}.txt").read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash=)", text, re.MULTILINE)


def test_what_is_installed_is_what_is_locked() -> None:
    for requirement, _ in locked("development").values():
        if requirement.marker is None or requirement.marker.evaluate():
            installed = importlib.metadata.version(requirement.name)
            assert requirement.specifier.contains(installed), (requirement.name, installed)


def test_each_dependency_has_its_reason() -> None:
    page = (PROJECT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| ([a-z][^|]*) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)
    named = {
        name.strip(): (licences, reason)
        for names, licences, reason in rows
        for name in names.split(",")
        if names != "package"
    }
    assert named.keys() == {each.name for each in requirements("dev", "fuzz", "release")}
    for name, (licences, reason) in named.items():
        assert {each.strip() for each in licences.split(",")} <= ALLOWED, name
        assert reason.strip()


def test_all_that_is_installed_has_a_licence_that_is_allowed() -> None:
    for name in locked("development"):
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system, or another Python
        found = licences_of(name, distribution.metadata)
        assert found, name
        assert found <= ALLOWED, name


def licences_of(name: str, metadata: importlib.metadata.PackageMetadata) -> set[str]:
    """What a package says of itself: an expression, or words of older forms."""
    if name in READ_BY_HAND:
        return {READ_BY_HAND[name]}
    fields = ("License-Expression", "License")
    if expression := next((metadata[each] for each in fields if each in metadata), ""):
        found: set[str] = set()
        for part in expression.split(" AND "):
            choice = {SPELLINGS.get(each, each) for each in part.split(" OR ")}
            found |= (choice & ALLOWED) or choice
        return found
    marks = (each.split(" :: ") for each in metadata.get_all("Classifier") or [])
    return {SPELLINGS.get(mark[-1], mark[-1]) for mark in marks if mark[0] == "License"}


def test_the_nix_package_has_the_same_dependencies() -> None:
    text = (PROJECT / "package.nix").read_text()
    listed = text[text.index("dependencies =") : text.index("makeWrapperArgs")]
    words = set(re.findall(r"[a-z][a-z0-9-]+", listed))
    assert {canonicalize_name(each.name) for each in requirements()} <= words
