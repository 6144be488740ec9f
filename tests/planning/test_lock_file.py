"""What two lock files lock differently."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirror.planning.flake_lock import InputChange, input_changes

REVISION = "8b4a0017b6c4254b343f06cb87014fb062562c89"
LATER = "e1b310ae5f1b51611ef19705fe923da52c588d60"


def lock(nixpkgs: str, **more: Any) -> bytes:
    nodes: dict[str, Any] = {
        "root": {"inputs": {"nixpkgs": "nixpkgs", "home": "home"}},
        "home": {
            "inputs": {"nixpkgs": ["nixpkgs"], "parts": "parts"},
            "locked": {"rev": REVISION, "lastModified": 0},
        },
        "parts": {"inputs": {}, "locked": {"narHash": "sha256-AAAA", "lastModified": 86400}},
        "nixpkgs": {"locked": {"rev": nixpkgs, "lastModified": 1795519153}},
        **more,
    }
    return json.dumps({"nodes": nodes, "root": "root", "version": 7}).encode()


def test_an_input_that_is_locked_to_another_revision_is_told_once() -> None:
    (change,) = input_changes(lock(REVISION), lock(LATER))
    assert str(change) == "nixpkgs: 8b4a0017b6c (2026-11-24) → e1b310ae5f1 (2026-11-24)"
    assert input_changes(lock(LATER), lock(LATER)) == ()


def test_inputs_of_inputs_and_those_without_a_revision_are_told_too() -> None:
    parts = {"locked": {"narHash": "sha256-BBBB"}}
    assert input_changes(lock(REVISION), lock(REVISION, parts=parts)) == (
        InputChange(name="home/parts", old="sha256-AAAA (1970-01-02)", new="sha256-BBBB"),
    )


def test_the_first_lock_file_and_the_last_one() -> None:
    first = input_changes(None, lock(REVISION))
    assert [change.name for change in first] == ["home", "home/parts", "nixpkgs"]
    assert str(first[0]) == "home is new: 8b4a0017b6c"
    assert str(input_changes(lock(REVISION), None)[0]) == "home is gone: 8b4a0017b6c"


@pytest.mark.parametrize("damaged", [b"", b"[]", b"{}", b'{"nodes": {}, "root": "root"}'])
def test_what_is_no_lock_file_is_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are JSON's, or the file's
        input_changes(lock(REVISION), damaged)


def nodes(**each: Any) -> bytes:
    return json.dumps({"nodes": each, "root": "root"}).encode()


@pytest.mark.parametrize(
    "endless",
    [
        nodes(root={"inputs": {"a": "root"}}),
        nodes(root={"inputs": {"a": "b"}}, b={"inputs": {"c": "d"}}, d={"inputs": {"e": "b"}}),
        # Twice as many ways to each as to the one before it.
        nodes(
            root={"inputs": {"a": "0"}},
            **{str(n): {"inputs": dict.fromkeys("ab", str(n + 1))} for n in range(50)},
            **{"50": {}},
        ),
    ],
    ids=["itself", "circle", "doubling"],
)
def test_inputs_without_an_end_are_refused(endless: bytes) -> None:
    with pytest.raises(ValueError, match="never end"):
        input_changes(lock(REVISION), endless)


@pytest.mark.parametrize("locked", ['"x"', "[" * 2000 + "]" * 2000, "1"])
def test_an_input_locked_to_something_else_is_refused(locked: str) -> None:
    other = lock(REVISION).replace(
        b'{"narHash": "sha256-AAAA", "lastModified": 86400}', locked.encode()
    )
    with pytest.raises(ValueError, match="not a lock file"):
        input_changes(lock(REVISION), other)


def test_a_time_that_cannot_be_is_left_out() -> None:
    parts = {"locked": {"narHash": "sha256-BBBB", "lastModified": 10**20}}
    (change,) = input_changes(lock(REVISION), lock(REVISION, parts=parts))
    assert change.new == "sha256-BBBB"
