"""Plans of graphs made by hand: what they order, and what they reach."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from rig.made_graphs import out, package, source

from mirror.planning import plan as planning
from mirror.planning.availability import Availability
from mirror.planning.fetchers.fixed_output_index import FixedOutputs
from mirror.planning.graph import Graph
from mirror.planning.lists.targets import PathInstallable, Target
from mirror.planning.presence import Presence
from mirror.planning.wants import Rules

if TYPE_CHECKING:
    from mirror.formats.derivation import Derivation


def planned(*derivations: Derivation) -> planning.Plan:
    """The plan of the last one, when no cache has anything."""
    root = derivations[-1].path
    graph = Graph({each.path: each for each in derivations})
    target = Target(name="t", installable=PathInstallable(Path(root)), installable_text=root)
    rules = Rules(
        fixed_output=FixedOutputs(graph, overrides={}, system="x86_64-linux").__getitem__,
        builder_refusal=lambda _: None,
    )
    wants, _ = planning.start(target, [root], graph, rules, {})
    while questions := wants.questions():
        for path in questions:
            wants.answer(path, Availability())
    finished = planning.finish(
        target,
        root,
        wants=wants,
        unobtainable=wants.unobtainable,
        lasting=wants,
        evaluated={},
    )
    return planning.merge([finished], graph, Presence())


def test_what_is_built_comes_after_what_it_is_built_with() -> None:
    first = package("z-first")
    second = package("a-second", [first])
    third = package("m-third", [first, second])
    assert planned(first, second, third).build == (first.path, second.path, third.path)


def test_what_fetches_a_source_is_built_before_what_is_built_of_the_source() -> None:
    fetcher = package("z-fetcher")
    modules = source("modules", [fetcher])
    root = package("a-root", [modules])
    plan = planned(fetcher, modules, root)
    assert [each.path for each in plan.fetch] == [out(modules)]
    assert plan.build == (fetcher.path, root.path)


@st.composite
def some_derivations(draw: st.DrawFn) -> list[Derivation]:
    made: list[Derivation] = []
    for number in range(draw(st.integers(1, 8))):
        inputs = draw(st.lists(st.sampled_from(made), unique_by=id)) if made else []
        made.append(package(f"package-{number}", inputs))
    return made


@given(some_derivations(), st.data())
def test_what_is_reachable_is_what_has_to_be_built_first(
    derivations: list[Derivation], data: st.DataObject
) -> None:
    graph = Graph({each.path: each for each in derivations})
    roots = data.draw(st.lists(st.sampled_from([each.path for each in derivations])))
    reachable = graph.reachable(roots)
    assert set(reachable) == set(graph.build_graph(roots))
    assert reachable == [path for path in graph.derivations if path in set(reachable)]
