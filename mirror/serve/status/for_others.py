"""What clients may be told of a run: not the names of private paths."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mirror.formats.store_path import STORE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Collection

    from mirror.destinations import Receipt, RunRecord
    from mirror.formats.store_path import StorePath

_PATH: Final = re.compile(
    rf"{STORE_DIRECTORY}/([0-9a-z]{{1,32}})(?:-[0-9A-Za-z+?=._-]*[0-9A-Za-z+?=_-])?"
)
"""A store path, perhaps one whose end was left out; a full stop ends a sentence."""
_HASH_LENGTH: Final = 32
_UNNAMED: Final = "a private path"


class Telling:
    """What clients are told: texts without the names of ``private`` paths."""

    def __init__(self, private: Collection[StorePath]) -> None:
        self._hash_parts = {each.hash_part for each in private}

    def text(self, line: str) -> str:
        """A line; what is left of a path that was cut short is taken for private."""

        def shown(found: re.Match[str]) -> str:
            is_whole = len(found[1]) == _HASH_LENGTH
            return found[0] if is_whole and found[1] not in self._hash_parts else _UNNAMED

        return _PATH.sub(shown, line) if self._hash_parts else line


def receipt_without_private(receipt: Receipt, private: Collection[StorePath]) -> Receipt:
    """What a rehearsal came to, without the names of ``private`` paths."""
    told = Telling(private)

    def shown(problem: str | None) -> str | None:
        return None if problem is None else told.text(problem)

    edits = {edit: shown(problem) for edit, problem in receipt.edits.items()}
    return replace(receipt, problem=shown(receipt.problem), edits=edits)


def without_private(run: RunRecord, private: Collection[StorePath]) -> RunRecord:
    """What became of a run, without the names of ``private`` paths."""
    told = Telling(private)
    return replace(
        run,
        problems=tuple(map(told.text, run.problems)),
        only_copies=tuple(each for each in run.only_copies if each not in private),
        refused=tuple(each for each in run.refused if each.path not in private),
    )
