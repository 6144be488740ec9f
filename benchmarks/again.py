"""``prefetch sync`` again, with nothing new: of a system of some 15,000 paths.

    python -m benchmarks again

The first sync of a generated system (``graph.nix``) fetches what its rebuild takes, each a small
file; the second one finds all of it there. Both are whole processes, evaluated from the derivation,
so that Nix's own evaluator is not measured. That the second asks for no NAR and no narinfo is seen
in the server's log.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.graphs import SETTINGS, generated_graph, publish
from benchmarks.measuring import Comparison, Run, run
from benchmarks.table import Row
from benchmarks.web import nginx
from mirror.formats.signing import SecretKey

if TYPE_CHECKING:
    from collections.abc import Iterator

_REACH_SECONDS: Final = 2
_PATHS: Final = re.compile(r"generation 1 kept at \S+, ([\d,]+) paths")


def rows(packages: int = 5_000, rounds: int = 3) -> Iterator[Row]:
    """Measure the row.

    Raises:
        RuntimeError: the second sync asked a cache for more than who it is.

    """
    graph = generated_graph(packages)
    key = SecretKey.generate("benchmarks-1")
    with tempfile.TemporaryDirectory(prefix="prefetch-benchmark-") as name:
        scratch = Path(name)
        publish(graph, scratch / "cache", key, with_nars=True)
        hosts = scratch / "hosts.txt"
        hosts.write_text(f"system = {graph.root} level=rebuild\n")
        log = scratch / "log"
        with nginx(scratch / "cache", log=log) as upstream:

            def sync() -> Run:
                return run(
                    [
                        *(sys.executable, "-m", "mirror", "sync", hosts, "--keep-going"),
                        *("--to", scratch / "out", "--store", graph.store.url, "--no-builder"),
                        *("--substituter", upstream, "--trusted-key", str(key.public)),
                    ],
                    environment={
                        "XDG_CACHE_HOME": str(scratch / "home/cache"),
                        "XDG_STATE_HOME": str(scratch / "home/state"),
                        "NIX_CONFIG": SETTINGS,
                    },
                    reads_output=True,
                )

            first = sync()
            found = _PATHS.search(first.output)
            paths = found[1] if found else "?"
            again = []
            for _ in range(rounds):
                before = log.stat().st_size
                again.append(sync())
                asked = log.read_text()[before:].splitlines()
                if any("nix-cache-info" not in line for line in asked):
                    raise RuntimeError(f"it asked again: {asked[:3]}")
    yield Row.of(
        f"sync of {paths} paths again",
        "itself the first time",
        Comparison(ours=again, theirs=[first] * rounds),
        reach=f"{_REACH_SECONDS} s",
    )
