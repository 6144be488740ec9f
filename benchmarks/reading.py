"""Reading a whole graph from cold Python and planning it, against Nix reading it.

Ours is ``benchmarks/planned.py``, a process that reads the graph and plans it, with the answers of
a cache made up; Nix only reads, and prints what it read to nowhere.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.graphs import SETTINGS, generated_graph
from benchmarks.measuring import compare, run
from benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLANNED: Final = Path(__file__).with_name("planned.py")


def rows(packages: int = 5_000, rounds: int = 9) -> Iterator[Row]:
    """Measure a row for each level, against each of Nix's ways of reading a graph."""
    graph = generated_graph(packages)
    store = graph.store.url
    timed = functools.partial(run, environment={"NIX_CONFIG": SETTINGS})
    show = _show_command()
    for level in ("rebuild", "sources"):
        ours = (sys.executable, _PLANNED, store, graph.root, level)
        shown, required = compare(
            rounds,
            functools.partial(timed, ours),
            functools.partial(timed, [*show, "-r", "--store", store, graph.root]),
            functools.partial(timed, ["nix-store", "--store", store, "-qR", graph.root]),
        )
        what = f"reading {3 * packages:,} derivations and planning them, level {level}"
        yield Row.of(what, f"`{' '.join(show)} -r`", shown, reach=1 / 5)
        yield Row.of("the same", "`nix-store -qR`", required, reach=1)


def _show_command() -> tuple[str, ...]:
    """``nix derivation show``, which was called ``nix show-derivation`` before Nix 2.15."""
    told = subprocess.run(["nix", "--version"], capture_output=True, check=True, encoding="utf-8")
    version = told.stdout.split()[-1]
    is_old = tuple(map(int, version.split(".")[:2])) < (2, 15)
    return ("nix", "show-derivation") if is_old else ("nix", "derivation", "show")
