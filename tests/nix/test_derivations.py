"""Reading derivation graphs: the same as Nix knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.running import ScratchStore, run

from mirror.errors import EvaluationError
from mirror.formats.store_path import StorePath
from mirror.nix.derivations import read_closure
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.nix.command import Nix

GRAPH = """
let
  made = name: inputs: derivation {
    inherit name inputs; system = "x86_64-linux"; builder = "/bin/sh"; source = ./source;
    outputs = [ "out" "dev" ];
  };
  base = made "base" [ ];
  left = made "left" [ base.dev ];
  right = made "right" [ base base.dev ];
in { a = made "a" [ left right ]; b = made "b" [ right ]; }
"""


def instantiated(nix: Nix, store: ScratchStore, directory: Path) -> list[StorePath]:
    (directory / "graph.nix").write_text(GRAPH)
    (directory / "source").write_text("source")
    printed = run(nix, "nix-instantiate", str(directory / "graph.nix"), store=store).stdout
    return [StorePath.parse(line) for line in printed.split()]


def test_the_closure_is_what_nix_says(
    any_nix: Nix, scratch_store: ScratchStore, tmp_path: Path
) -> None:
    roots = instantiated(any_nix, scratch_store, tmp_path)
    closure = read_closure(StoreLocation.parse(scratch_store.url), roots)
    requisites = run(
        any_nix, "nix-store", "--query", "--requisites", *roots, store=scratch_store
    ).stdout.split()
    assert set(closure) == {path for path in requisites if path.endswith(".drv")}
    assert {path for one in closure.values() for path in one.input_sources} == {
        path for path in requisites if not path.endswith(".drv")
    }
    assert [path.name for path in closure] == [
        *("a.drv", "b.drv"),
        *sorted(("left.drv", "right.drv"), key=[path.name for path in closure].index),
        "base.drv",
    ]
    right = next(one for path, one in closure.items() if path.name == "right.drv")
    assert set(*right.input_derivations.values()) == {"out", "dev"}


def test_one_root_can_be_within_the_closure_of_another(
    nix_stable: Nix, scratch_store: ScratchStore, tmp_path: Path
) -> None:
    store = StoreLocation.parse(scratch_store.url)
    root = instantiated(nix_stable, scratch_store, tmp_path)[0]
    closure = read_closure(store, [root])
    assert read_closure(store, list(closure)) == closure
    assert read_closure(store, []) == {}


def test_a_derivation_that_is_not_there_is_named_with_what_needs_it(
    nix_stable: Nix, scratch_store: ScratchStore, tmp_path: Path
) -> None:
    store = StoreLocation.parse(scratch_store.url)
    root = instantiated(nix_stable, scratch_store, tmp_path)[1]
    (right,) = read_closure(store, [root])[root].input_derivations
    store.real(right).unlink()
    with pytest.raises(EvaluationError) as caught:
        read_closure(store, [root])
    assert f"the derivation {right}, which {root} needs" in caught.value.message
    assert "No such file" in caught.value.message
    with pytest.raises(EvaluationError, match=f"the derivation {right} cannot be read"):
        read_closure(store, [right])
