"""Reading a whole graph from cold Python and planning it, against Nix reading it.

    python -m benchmarks.reading [PACKAGES] [ROUNDS]

A round runs ``benchmarks/planned.py`` and Nix's two ways of reading the same graph once each, in
turn. Printed are the medians of all rounds but the first, and how they compare.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.graphs import SETTINGS, generated_graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.graphs import GeneratedGraph

PLANNED = Path(__file__).with_name("planned.py")
DEFAULTS = (5_000, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process took: seconds by the clock and of the processor, and peak memory in MB."""

    seconds: float
    processor_seconds: float
    memory: float


def contestants(graph: GeneratedGraph) -> Mapping[str, Sequence[str]]:
    """What is compared, by name: the plan for the default level first."""
    store = graph.store.url
    version = subprocess.run(
        ["nix", "--version"], capture_output=True, check=True, encoding="utf-8"
    ).stdout.split()[-1]
    # "derivation show" is what "show-derivation" is called from 2.15 on.
    is_old = tuple(map(int, version.split(".")[:2])) < (2, 15)
    planned = (sys.executable, str(PLANNED))
    show = ("show-derivation",) if is_old else ("derivation", "show")
    return {
        **{
            f"prefetch, planned for level {level}": [*planned, store, graph.root, level]
            for level in ("rebuild", "sources")
        },
        " ".join(("nix", *show, "-r")): ["nix", *show, "-r", "--store", store, graph.root],
        "nix-store -qR": ["nix-store", "--store", store, "-qR", graph.root],
    }


def measured(command: Sequence[str]) -> Run:
    """Run a command to its end; its output goes nowhere."""
    program = shutil.which(command[0])
    assert program is not None
    environment = {**os.environ, "NIX_CONFIG": SETTINGS}
    begun = time.perf_counter()
    nowhere = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    process = os.posix_spawn(program, [*command], environment, file_actions=[nowhere])
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - begun
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed")
    return Run(
        seconds=seconds,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss / 1000,
    )


def main(packages: int, rounds: int) -> None:
    graph = generated_graph(packages)
    commands = contestants(graph)
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            runs[name].append(measured(command))
    ours = None
    for name, (_, *later) in runs.items():
        seconds = statistics.median(run.seconds for run in later)
        processor = statistics.median(run.processor_seconds for run in later)
        memory = statistics.median(run.memory for run in later)
        ours = ours or seconds
        print(
            f"{name}: {seconds:.2f} s ({processor:.2f} s of processor), {memory:.0f} MB, "
            f"{seconds / ours:.2f} times the first"
        )


if __name__ == "__main__":
    main(*[int(word) for word in sys.argv[1:]], *DEFAULTS[len(sys.argv) - 1 :])
