"""What each level makes ready, on the demo's real graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.destinations import CacheDirectory
from mirror.nix.derivations import read_closure
from mirror.nix.stores import StoreLocation
from mirror.planning import budget
from mirror.planning.lists.targets import Level
from mirror.sync.run import plan

if TYPE_CHECKING:
    from rig.bench import Bench

    from mirror.formats.derivation import Derivation
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.planning.plan import Plan


async def planned(bench: Bench, nix: Nix, line: str) -> Plan:
    async with (
        bench.workshop(nix) as workshop,
        CacheDirectory.open(bench.directory / "cache", exclusive=False) as destination,
    ):
        return (await plan(bench.targets(line), workshop, destination, bench.recorder)).plan


def graph_of(bench: Bench, made: Plan) -> dict[StorePath, Derivation]:
    return read_closure(StoreLocation.parse(bench.evaluation.url), [made.targets[0].root])


def had(made: Plan) -> set[StorePath]:
    return {each.path for each in made.substitute} | {each.path for each in made.fetch}


def outputs(graph: dict[StorePath, Derivation], *, fixed: bool) -> set[StorePath]:
    return {
        output.path
        for derivation in graph.values()
        for output in derivation.outputs.values()
        if output.path is not None and (output.is_fixed or not fixed)
    }


async def test_runtime_of_what_a_cache_has_is_its_closure_and_no_derivation(
    bench: Bench, nix_stable: Nix
) -> None:
    made = await planned(bench, nix_stable, "DEMO#ledger level=runtime")
    assert made.targets[0].level is Level.RUNTIME
    assert {each.path.name for each in made.substitute} >= {"ledger-3.3"}
    assert not made.build
    assert not made.copy
    assert not made.fetch


async def test_runtime_of_what_no_cache_has_rises_to_rebuild_and_says_so(
    bench: Bench, nix_stable: Nix
) -> None:
    made = await planned(bench, nix_stable, "DEMO#laptop level=runtime")
    assert made.targets[0].level is Level.REBUILD
    assert any("level rebuild" in notice for notice in made.targets[0].notices)
    same = await planned(bench, nix_stable, "DEMO#laptop")
    assert had(made) == had(same)


async def test_sources_adds_every_fixed_output_of_the_graph_and_nothing_else(
    bench: Bench, nix_stable: Nix
) -> None:
    less = await planned(bench, nix_stable, "DEMO#atlas")
    more = await planned(bench, nix_stable, "DEMO#atlas level=sources")
    sources = outputs(graph_of(bench, more), fixed=True)
    assert had(more) == had(less) | sources
    assert not had(less) >= sources


async def test_full_adds_every_output_of_the_graph(bench: Bench, nix_stable: Nix) -> None:
    made = await planned(bench, nix_stable, "DEMO#laptop level=full")
    graph = graph_of(bench, made)
    local = {output.path for path in made.build for output in graph[path].outputs.values()}
    assert had(made) >= outputs(graph, fixed=False) - local


async def test_a_level_can_be_raised_for_one_package(bench: Bench, nix_stable: Nix) -> None:
    base = await planned(bench, nix_stable, "DEMO#laptop")
    raised = await planned(bench, nix_stable, "DEMO#laptop sources=atlas full=no-such-package")
    alone = await planned(bench, nix_stable, "DEMO#atlas level=sources")
    sources = outputs(graph_of(bench, alone), fixed=True)
    assert had(raised) == had(base) | sources
    assert not had(base) >= sources
    assert any("no-such-package" in notice for notice in raised.targets[0].notices)


async def test_one_path_of_several_targets_is_planned_once(bench: Bench, nix_stable: Nix) -> None:
    made = await planned(bench, nix_stable, "DEMO#laptop\nDEMO#ledger\nDEMO#atlas level=sources")
    paths = [each.path for each in made.substitute] + [each.path for each in made.fetch]
    assert len(paths) == len(set(paths))
    assert len(made.targets) == 3


def size(made: Plan) -> int:
    return budget.nar_bytes(made.targets[0])


async def test_a_budget_leaves_out_raised_packages_first_and_says_so(
    bench: Bench, nix_stable: Nix
) -> None:
    base = await planned(bench, nix_stable, "DEMO#laptop")
    whole = await planned(bench, nix_stable, "DEMO#laptop level=full")
    limit = (size(base) + size(whole)) // 2
    fitting = await planned(bench, nix_stable, f"DEMO#laptop level=full budget={limit}")
    assert size(base) <= size(fitting) <= limit
    assert had(base) < had(fitting) < had(whole)
    (notice,) = [each for each in fitting.targets[0].notices if "left out" in each]
    largest = max(had(whole) - had(base), key=lambda path: sizes(whole).get(path, 0))
    assert package_of(largest) in notice
    # What is kept is closed under references all the same.
    target = fitting.targets[0]
    for path, each in target.wanted.items():
        assert each.info is not None
        assert target.paths.issuperset(each.info.references), path


async def test_a_budget_leaves_out_the_dearest_edit_and_never_the_base(
    bench: Bench, nix_stable: Nix
) -> None:
    line = "DEMO#laptop edits=dnsmasq,timer"
    base = await planned(bench, nix_stable, "DEMO#laptop")
    whole = await planned(bench, nix_stable, line)
    fitting = await planned(bench, nix_stable, f"{line} budget={size(whole) - 1}")
    assert [each.name for each in fitting.targets[0].edits] == ["timer"]
    assert any("the edit dnsmasq" in each for each in fitting.targets[0].notices)
    tiny = await planned(bench, nix_stable, f"{line} budget=1k")
    assert had(tiny) >= had(base)
    assert any("more than the budget" in each for each in tiny.targets[0].notices)


def sizes(made: Plan) -> dict[StorePath, int]:
    return {each.path: each.offer.info.nar_size for each in made.substitute}


def package_of(path: StorePath) -> str:
    return path.name.split("-")[0]
