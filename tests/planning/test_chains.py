"""The chains from a target to a path, on a small graph made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rig.made_graphs import out, package, source

from mirror.planning.chains import Chains, raised_by
from mirror.planning.graph import Graph
from mirror.planning.lists.targets import Level, PathInstallable, Target

if TYPE_CHECKING:
    from mirror.formats.store_path import StorePath

SOURCE = package("source")
LIBRARY = package("library", [SOURCE])
TOOL = package("tool", [LIBRARY])
UNIT = package("unit", [TOOL])
SYSTEM = package("system", [UNIT, TOOL])
GRAPH = Graph({each.path: each for each in (SOURCE, LIBRARY, TOOL, UNIT, SYSTEM)})


def told(chains: Chains, path: str) -> list[list[tuple[str, str]]]:
    found = chains.every(SYSTEM.path, path)  # type: ignore[arg-type] # as a user gives it
    return [[(step.relation, step.path.name) for step in chain] for chain in found]


def test_what_is_there_leads_on_by_what_it_refers_to() -> None:
    chains = Chains(GRAPH, {out(TOOL): [out(LIBRARY)], out(LIBRARY): []})
    assert told(chains, out(LIBRARY)) == [[("is built with", "tool"), ("refers to", "library")]]


def test_what_is_not_there_leads_on_by_what_it_is_built_with() -> None:
    chains = Chains(GRAPH, {})
    assert told(chains, out(LIBRARY)) == [
        [("is built with", "tool.drv"), ("is built with", "library")],
        [("is built with", "tool.drv"), ("is built with", "library.drv"), ("makes", "library")],
    ]


def test_each_path_that_leads_to_it_gives_a_chain_the_shortest_first() -> None:
    chains = Chains(GRAPH, {out(TOOL): []})
    assert told(chains, out(TOOL)) == [
        [("is built with", "tool")],
        [("is built with", "unit.drv"), ("is built with", "tool")],
    ]


def test_sources_of_what_is_there_are_found_in_the_whole_graph_only() -> None:
    there: dict[StorePath, list[StorePath]] = {out(TOOL): [], out(LIBRARY): []}
    assert told(Chains(GRAPH, there), out(SOURCE)) == []
    (chain,) = told(Chains(GRAPH, there, whole=True), out(SOURCE))[:1]
    assert chain[-1] == ("is built with", "source")


def test_a_root_that_is_there_leads_on_by_what_it_refers_to() -> None:
    there = {out(SYSTEM): [out(TOOL)], out(TOOL): [], out(UNIT): []}
    assert told(Chains(GRAPH, there), out(TOOL)) == [[("makes", "system"), ("refers to", "tool")]]


def test_what_an_edit_builds_anew_leads_on_though_it_is_there() -> None:
    unit = package("unit", [TOOL], attributes={"preferLocalBuild": "1"})
    system = package("system", [unit])
    graph = Graph({each.path: each for each in (SOURCE, LIBRARY, TOOL, unit, system)})
    chains = Chains(graph, {out(unit): [], out(TOOL): []})
    (steps,) = chains.every(system.path, out(TOOL))
    assert [step.path for step in steps] == [unit.path, out(TOOL)]


def test_a_fetcher_is_built_with_nothing_that_is_wanted() -> None:
    fetched = source("fetched", [TOOL])
    system = package("system", [fetched])
    graph = Graph({each.path: each for each in (SOURCE, LIBRARY, TOOL, fetched, system)})
    assert not list(Chains(graph, {}).every(system.path, out(TOOL)))
    assert list(Chains(graph, {}, whole=True).every(system.path, out(TOOL)))


def test_the_option_that_asks_for_a_source_is_named_as_a_list_has_it() -> None:
    fetched = source("fetched")
    tool, other = package("tool", [fetched]), package("other")
    system = package("system", [tool, other])
    graph = Graph({each.path: each for each in (fetched, tool, other, system)})

    def asked(path: StorePath, level: Level, *raised: tuple[str, Level]) -> tuple[str, ...]:
        target = Target(
            name="it",
            installable=PathInstallable(Path("/it")),
            installable_text="it",
            level=level,
            raised=raised,
        )
        return raised_by(target, [system.path], path, graph)

    assert asked(out(fetched), Level.REBUILD) == ()
    assert asked(out(fetched), Level.SOURCES) == ("level=sources",)
    assert asked(out(tool), Level.SOURCES) == ()
    assert asked(out(tool), Level.FULL) == ("level=full",)
    both = (("tool", Level.FULL), ("other", Level.SOURCES))
    assert asked(out(fetched), Level.REBUILD, *both) == ("full=tool",)
    assert asked(out(other), Level.REBUILD, *both) == ()
