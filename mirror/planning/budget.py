"""Budgets: what of a target's plan is left out so that the rest fits.

The order is fixed: whole packages of the raised levels first, the largest first, then edits from
the dearest, never the base. Sizes are those of uncompressed NARs, as far as they are known before
the download: neither that of a source at its origin, nor what a cache says and nobody signed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mirror.planning.graph import in_order, package_name
from mirror.planning.plan import LeftOut

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mirror.formats.store_path import StorePath
    from mirror.planning.graph import Graph
    from mirror.planning.plan import EditPlan, TargetPlan

_NAMED: Final = 5


def nar_bytes(plan: TargetPlan) -> int:
    """The size of the plan's paths in bytes, as far as it is known."""
    return sum(_size(plan, path) for path in plan.wanted)


def without_packages(
    plan: TargetPlan, essential: Collection[StorePath], graph: Graph, budget: int
) -> TargetPlan:
    """Leave out packages, the largest first, until the plan fits or only ``essential`` is left."""
    packages: defaultdict[str, set[StorePath]] = defaultdict(set)
    for path in (plan.paths | plan.unobtainable.keys()) - plan.evaluated.keys():
        if path not in essential:
            packages[_package(path, graph)].add(path)
    sizes = {name: sum(_size(plan, path) for path in paths) for name, paths in packages.items()}
    left_out: list[str] = []
    fitting = plan
    for name in sorted(packages, key=lambda name: (-sizes[name], name)):
        if nar_bytes(fitting) <= budget:
            break
        left_out.append(name)
        dropped = {path for each in left_out for path in packages[each]}
        fitting = _without(plan, dropped)
    if not left_out:
        return plan
    named = [f"{name} ({sizes[name]:,} bytes)" for name in left_out[:_NAMED]]
    others = len(left_out) - len(named)
    more = f" and {others} more packages" if others else ""
    notice = f"left out for the budget of {budget:,} bytes: {', '.join(named)}{more}"
    return replace(
        fitting,
        notices=(*fitting.notices, notice),
        left_out=tuple(
            LeftOut(kind="package", name=name, nar_bytes=sizes[name]) for name in left_out
        ),
    )


def dearest(edits: Iterable[EditPlan]) -> EditPlan | None:
    """The edit that adds the most bytes; None if no edit adds any."""
    adding = [edit for edit in edits if edit.nar_bytes]
    return max(adding, key=lambda edit: (edit.nar_bytes, edit.name), default=None)


def _without(plan: TargetPlan, dropped: Collection[StorePath]) -> TargetPlan:
    """The plan without paths, except those that what is left refers to."""

    def references(path: StorePath) -> tuple[StorePath, ...]:
        availability = plan.wanted.get(path)
        info = availability.info if availability is not None else None
        return info.references if info is not None else ()

    left = set(in_order((path for path in plan.paths if path not in dropped), references))
    return replace(
        plan,
        wanted={path: each for path, each in plan.wanted.items() if path in left},
        fetch={path: each for path, each in plan.fetch.items() if path in left},
        kept=frozenset(plan.kept & left),
        unobtainable={
            path: each for path, each in plan.unobtainable.items() if path not in dropped
        },
    )


def _size(plan: TargetPlan, path: StorePath) -> int:
    availability = plan.wanted.get(path)
    return 0 if availability is None else availability.nar_bytes


def _package(path: StorePath, graph: Graph) -> str:
    makers = graph.makers.get(path, ())
    return package_name(graph[makers[0]]) if makers else path.name
