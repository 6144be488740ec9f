"""The fixed outputs of a graph, by path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mirror.formats.hashes import SIZES, Hash
from mirror.planning.fetchers.recognise import fixed_output, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.formats.store_path import StorePath
    from mirror.planning.fetchers.fixed_outputs import FixedOutput
    from mirror.planning.graph import Graph


class FixedOutputs(Mapping["StorePath", "FixedOutput"]):
    """Each fixed output with the ways to get it, all derivations that make it joined.

    ``overrides`` are the user's environment variables (``NIX_MIRRORS_<site>``); ``system`` is the
    platform whose derivation is preferred where several make one path. A fixed output is
    recognised when it is asked for, and only once: large graphs have thousands.
    """

    def __init__(self, graph: Graph, *, overrides: Mapping[str, str], system: str) -> None:
        self._graph = graph
        self._overrides = overrides
        self._system = system
        makers = graph.makers
        self._makers = {
            output.path: makers[output.path]
            for derivation in graph.derivations.values()
            for output in derivation.outputs.values()
            if output.hash_algorithm and output.path is not None
        }
        self._recognised: dict[StorePath, FixedOutput] = {}

    def __getitem__(self, path: StorePath) -> FixedOutput:
        known = self._recognised.get(path)
        if known is None:
            known = self._recognised[path] = join(
                (
                    fixed_output(
                        self._graph[maker],
                        self._graph.derivations.get,
                        overrides=self._overrides,
                    )
                    for maker in self._makers[path]
                ),
                system=self._system,
            )
        return known

    def __contains__(self, path: object) -> bool:
        return path in self._makers

    def __iter__(self) -> Iterator[StorePath]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def flat_hashes(self, paths: Iterable[StorePath]) -> dict[StorePath, Hash]:
        """Those of ``paths`` that are plain files, each with the hash of its bytes."""
        found = {}
        for path in paths:
            outputs = self._graph[self._makers[path][0]].outputs if path in self._makers else {}
            for output in outputs.values():
                if output.path == path and output.hash_algorithm in SIZES:
                    found[path] = Hash.parse(output.hash, output.hash_algorithm)
        return found
