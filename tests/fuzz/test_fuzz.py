"""A short run of each target, the same each time."""

from __future__ import annotations

import pytest

from fuzz.mutation import run
from fuzz.target import CORPUS
from fuzz.targets import all_targets

TARGETS = all_targets()


@pytest.mark.parametrize("name", TARGETS)
def test_only_documented_errors_come_out(name: str) -> None:
    target = TARGETS[name]
    with target.checking() as check:
        assert any(target.accepts(check, data) for data in target.corpus)
        figures = run(target, check, seed=1)
    assert figures.accepted > 0


def test_each_target_has_its_corpus_and_each_corpus_its_target() -> None:
    assert {directory.name for directory in CORPUS.iterdir()} == TARGETS.keys()
