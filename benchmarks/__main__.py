"""All benchmarks, or those that are named: ``python -m benchmarks [--small] [NAME…]``.

They take some half an hour, and as long again the first time, when what they are made from is
built and compressed; ``--small`` is for seeing that they run.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmarks import (
    again,
    asking,
    hosts,
    many_small,
    planning,
    reading,
    serving,
    syncing,
    verifying,
)
from benchmarks.table import HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.table import Row

_FULL: dict[str, Callable[[], Iterator[Row]]] = {
    "reading": reading.rows,
    "asking": asking.rows,
    "planning": planning.rows,
    "syncing": syncing.rows,
    "small": many_small.rows,
    "again": again.rows,
    "hosts": hosts.rows,
    "verifying": verifying.rows,
    "serving": serving.rows,
}
_SMALL: dict[str, Callable[[], Iterator[Row]]] = {
    "reading": lambda: reading.rows(40, 1),
    "asking": lambda: asking.rows(40, 1),
    "planning": lambda: planning.rows(40, 1),
    "syncing": lambda: syncing.rows(20, 5_000_000, 1),
    "small": lambda: many_small.rows(0.02, 1),
    "again": lambda: again.rows(40, 1),
    "hosts": lambda: hosts.rows(3, 1_000, 1),
    "verifying": lambda: verifying.rows(20, 5_000_000, 1),
    "serving": lambda: serving.rows(serving.Sizes(50, 1, 4, 1, 1)),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Compare with Nix, nginx and C tools."
    )
    parser.add_argument("--small", action="store_true", help="only to see that they run")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"one of {', '.join(_FULL)}")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in _FULL]:
        parser.error(f"there is no benchmark {unknown[0]}; there are {', '.join(_FULL)}")
    benchmarks = _SMALL if options.small else _FULL
    print(HEADER)
    for name in options.names or benchmarks:
        for row in benchmarks[name]():
            print(row, flush=True)


if __name__ == "__main__":
    main()
