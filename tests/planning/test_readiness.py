"""Readiness on small graphs made by hand; that it is Nix's own is shown in tests/sync."""

from __future__ import annotations

from rig.made_graphs import out, package, source

from mirror.planning.graph import Graph
from mirror.planning.readiness import Offline

SOURCE = source("source")
TOOL = package("tool", [SOURCE])
SHELL = package("shell", [TOOL])
GRAPH = Graph({each.path: each for each in (SOURCE, TOOL, SHELL)})


def test_what_is_there_needs_nothing_unless_it_is_made_anew() -> None:
    offline = Offline(graph=GRAPH, valid={out(SHELL)})
    assert offline.readiness(SHELL.path).is_ready
    assert not offline.readiness(SHELL.path).build
    anew = offline.readiness(SHELL.path, anew=True)
    assert anew.build == {SHELL.path, TOOL.path, SOURCE.path}
    (missing,) = anew.missing
    assert missing.paths == (out(TOOL),)
    assert missing.chain == (SHELL.path,)


def test_made_anew_it_is_ready_with_what_it_is_built_from() -> None:
    offline = Offline(graph=GRAPH, valid={out(SHELL), out(TOOL)})
    anew = offline.readiness(SHELL.path, anew=True)
    assert anew.is_ready
    assert anew.build == {SHELL.path}
