"""The chains from a target to a path, on a small graph made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rig.made_graphs import out, package

from mirror.planning.chains import Chains
from mirror.planning.graph import Graph

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
