"""Read a graph and plan it, from cold Python: what :mod:`benchmarks.reading` measures.

    python benchmarks/planned.py STORE ROOT LEVEL

A cache has whatever may be substituted, but for one source in eight. At level ``rebuild`` the plan
goes as far into the graph as Nix does, at level ``sources`` through all of it. Printed are how many
derivations were read, how many of them are to be built, how many paths to be substituted and how
many sources to be fetched.
"""

from __future__ import annotations

import sys

from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath
from mirror.nix.derivations import read_closure
from mirror.nix.stores import StoreLocation
from mirror.planning import plan as planning
from mirror.planning.availability import Availability, Offer
from mirror.planning.fetchers.fixed_output_index import FixedOutputs
from mirror.planning.graph import Graph
from mirror.planning.lists.targets import Level, PathInstallable, Target
from mirror.planning.presence import Presence
from mirror.planning.wants import Rules, Wants

MISSING = "0123"
"""How the hashes of the sources begin that the cache lacks: four letters of 32."""


def plan(store: StoreLocation, root: StorePath, level: Level) -> tuple[Graph, planning.Plan]:
    """The graph of ``root`` and what it would take to have it, on an empty destination."""
    graph = Graph(read_closure(store, [root]))
    fixed_outputs = FixedOutputs(graph, overrides={}, system="x86_64-linux")
    target = Target(
        name="benchmark",
        installable=PathInstallable(store.real(root)),
        installable_text=root,
        level=level,
    )
    rules = Rules(fixed_output=fixed_outputs.__getitem__, builder_refusal=lambda _: None)

    def wants(rules: Rules) -> Wants:
        wants, _ = planning.start(target, [root], graph, rules, {})
        while questions := wants.questions():
            for path in questions:
                lacking = path in fixed_outputs and path.hash_part[0] in MISSING
                wants.answer(path, Availability() if lacking else offered)
        return wants

    info = PathInfo(path=root, nar_hash=Hash.of(b""), nar_size=1)
    offered = Availability(offer=Offer(source="cache", info=info, download_bytes=1))
    every = wants(rules)
    planned = planning.finish(
        target,
        root,
        wants=every,
        unobtainable=every.unobtainable,
        lasting=every,
        evaluated={},
    )
    return graph, planning.merge([planned], graph, Presence())


def main(store: str, root: str, level: str) -> None:
    graph, made = plan(StoreLocation.parse(store), StorePath.parse(root), Level[level.upper()])
    counts = (graph.derivations, made.build, made.substitute, made.fetch)
    print(*map(len, counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
