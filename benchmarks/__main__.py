"""All benchmarks, or those that are named: ``python -m benchmarks [--small] [NAME…]``.

They take some half an hour, and a few minutes more the first time, when what they are made from is
generated; ``--small`` is for seeing that they run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks import syncing
from benchmarks.table import HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.table import Row

_BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "syncing": lambda small: syncing.rows(50, 20_000_000, 1) if small else syncing.rows(),
}


def main() -> None:
    small = "--small" in sys.argv
    names = [each for each in sys.argv[1:] if each != "--small"] or list(_BENCHMARKS)
    print(HEADER)
    for name in names:
        for row in _BENCHMARKS[name](small):
            print(row, flush=True)


if __name__ == "__main__":
    main()
