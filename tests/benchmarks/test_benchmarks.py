"""The benchmarks run, and what they show of correctness holds at a small size, too."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.nixes import PYTHON_PATH
from rig.running import ScratchStore, dry_run, run

from benchmarks import many_small
from benchmarks.graphs import generated_graph, publish
from benchmarks.small_paths import small_paths
from mirror.formats.signing import SecretKey
from mirror.nix.derivations import read_closure
from mirror.nix.stores import remove_store
from mirror.planning.fetchers.fixed_output_index import FixedOutputs
from mirror.planning.fetchers.fixed_outputs import Download, Unpack
from mirror.planning.graph import Graph, substitutes_allowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.graphs import GeneratedGraph
    from mirror.nix.command import Nix

PROJECT = Path(__file__).parents[2]


@pytest.mark.thorough
def test_many_clients_are_all_answered_and_take_little_memory() -> None:
    """200 slow ones and 16 fast ones; how fast is not looked at, only what the server holds."""
    completed = subprocess.run(
        [sys.executable, "benchmarks/many_clients.py", "200", "16", "1"],
        cwd=PROJECT,
        env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    memory = [float(figure) for figure in re.findall(r"([0-9.]+) MB, \d+ open", completed.stdout)]
    at_rest, *under_way = memory
    assert len(under_way) == 2
    assert max(under_way) < at_rest + 40
    assert "with 200 slow ones" in completed.stdout


@pytest.fixture
def small_graph(
    nix_stable: Nix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GeneratedGraph]:
    # The benchmarks start it by its name.
    assert shutil.which("nix") == nix_stable.program
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cached"))
    graph = generated_graph(40)
    yield graph
    remove_store(graph.directory)


def test_a_generated_graph_is_made_once_and_is_read_as_nix_knows_it(
    nix_stable: Nix, small_graph: GeneratedGraph
) -> None:
    assert generated_graph(40) == small_graph
    store = ScratchStore(small_graph.directory)
    requisites = run(nix_stable, "nix-store", "-qR", small_graph.root, store=store).stdout.split()
    read = read_closure(small_graph.store, [small_graph.root])
    assert set(read) == {path for path in requisites if path.endswith(".drv")}
    fixed = [each for each in read.values() if each.is_fixed]
    assert len(fixed) == 80
    recognised = FixedOutputs(Graph(read), overrides={}, system="x86_64-linux")
    origins = [each.origin for each in recognised.values()]
    assert {type(origin) for origin in origins} == {Download, Unpack}
    assert all(url.startswith("https://") for origin in origins for url in origin.urls)


def test_a_generated_cache_is_planned_with_as_nix_does(
    nix_stable: Nix, small_graph: GeneratedGraph, tmp_path: Path
) -> None:
    key = SecretKey.generate("benchmark")
    cache = tmp_path / "cache"
    assert publish(small_graph, cache, key) == len([*cache.glob("*.narinfo")])
    caches = (f"file://{cache}",)
    (tmp_path / "list.txt").write_text(f"benchmark = {small_graph.root}\n")
    command = (sys.executable, "-m", "mirror", "plan", str(tmp_path / "list.txt"), "--json")
    completed = subprocess.run(
        [
            *command,
            *("--store", small_graph.store.url, "--to", str(tmp_path / "destination")),
            *("--substituter", *caches, "--trusted-key", str(key.public)),
        ],
        cwd=PROJECT,
        env={**nix_stable.environment, "PYTHONPATH": PYTHON_PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    plan = json.loads(completed.stdout)
    store = ScratchStore(small_graph.directory)
    by_nix = dry_run(nix_stable, small_graph.root, store=store, caches=caches)
    assert set(plan["build"]) == by_nix.build
    assert {each["path"] for each in plan["substitute"]} == by_nix.substitute
    assert not plan["fetch"]
    assert len(by_nix.build) > 2
    assert len(by_nix.substitute) > 30


@pytest.mark.parametrize("level", ["rebuild", "sources"])
def test_what_is_measured_reads_all_and_plans_what_can_be_had(
    small_graph: GeneratedGraph, level: str
) -> None:
    completed = subprocess.run(
        [
            *(sys.executable, "benchmarks/planned.py"),
            *(small_graph.store.url, small_graph.root, level),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    read, build, substitute, fetch = map(int, completed.stdout.split())
    derivations = read_closure(small_graph.store, [small_graph.root])
    assert read == len(derivations)
    assert build == sum(not substitutes_allowed(each) for each in derivations.values())
    assert fetch + substitute >= (80 if level == "sources" else 1)
    assert (fetch > 0) is (level == "sources")


def test_many_small_paths_take_little_memory(
    nix_stable: Nix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as may wait for what they refer to: each must take about as much as it has."""
    assert shutil.which("nix") == nix_stable.program
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cached"))
    made = small_paths(0.1)
    try:
        with many_small.bench(made) as bench:
            ran = bench.sync()
            kept = {each.name[:32] for each in bench.out.glob("*.narinfo")}
        assert len(kept) == made.count > 400
        assert ran.peak_bytes < 130e6
    finally:
        remove_store(made.directory)


@pytest.mark.thorough
def test_every_comparison_can_be_made() -> None:
    """At a small size: what each side did has been checked by the commands themselves."""
    completed = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--small"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    _, _, *rows = completed.stdout.splitlines()
    assert len(rows) == 28
    for row in rows:
        assert float(row.split("|")[5]) > 0, row


def test_a_benchmark_that_there_is_not_is_said_before_any_is_run() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--small", "again", "agian"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert "there is no benchmark agian; there are reading, asking, " in completed.stderr


@pytest.mark.thorough
def test_the_memory_of_a_server_is_measured() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", "50", "1000"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    peaks = [float(figure) for figure in re.findall(r"([0-9.]+) MB when all", completed.stdout)]
    assert len(peaks) == 2
    assert max(peaks) < 150
