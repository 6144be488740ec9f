"""What clients may be told of a run: not the names of private paths."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mirror.formats.store_path import STORE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Collection

    from mirror.destinations import RunRecord
    from mirror.formats.store_path import StorePath

_PATH: Final = re.compile(rf"{STORE_DIRECTORY}/[0-9a-z]{{32}}-[0-9A-Za-z+?=._-]+")
_UNNAMED: Final = "a private path"


def without_private(run: RunRecord, private: Collection[StorePath]) -> RunRecord:
    """What became of a run, without the names of ``private`` paths."""
    names = frozenset(map(str, private))

    def shown(line: str) -> str:
        return _PATH.sub(lambda found: _UNNAMED if found[0] in names else found[0], line)

    return replace(
        run,
        problems=tuple(map(shown, run.problems)),
        only_copies=tuple(each for each in run.only_copies if each not in private),
        refused=tuple(each for each in run.refused if each.path not in private),
    )
