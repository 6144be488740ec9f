"""``prefetch plan`` of a system on an empty destination, against Nix's dry run of it.

Both read the same generated graph and ask nginx on loopback for the same narinfos; neither knows
anything from before. Both are whole processes, and begin at the derivation: Nix's evaluator, which
both would start, is not measured.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.graphs import SETTINGS, generated_graph, publish
from benchmarks.measuring import Run, compare, run
from benchmarks.table import Row
from benchmarks.web import nginx
from mirror.formats.signing import SecretKey

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(packages: int = 5_000, rounds: int = 5) -> Iterator[Row]:
    """Measure the row."""
    graph = generated_graph(packages)
    key = SecretKey.generate("benchmarks-1")
    with tempfile.TemporaryDirectory(prefix="prefetch-benchmark-") as name:
        scratch = Path(name)
        narinfos = publish(graph, scratch / "cache", key)
        hosts = scratch / "hosts.txt"
        hosts.write_text(f"system = {graph.root}\n")

        def environment() -> dict[str, str]:
            shutil.rmtree(scratch / "home", ignore_errors=True)
            return {
                "XDG_CACHE_HOME": str(scratch / "home/cache"),
                "XDG_STATE_HOME": str(scratch / "home/state"),
                "NIX_CONFIG": f"{SETTINGS}\ntrusted-public-keys = {key.public}",
            }

        with nginx(scratch / "cache") as upstream:

            def plan() -> Run:
                return run(
                    [
                        *(sys.executable, "-m", "mirror", "plan", hosts),
                        *("--to", scratch / "out", "--store", graph.store.url),
                        *("--substituter", upstream, "--trusted-key", str(key.public)),
                    ],
                    environment=environment(),
                )

            def dry_run() -> Run:
                return run(
                    [
                        *("nix-store", "--realise", "--dry-run", graph.root),
                        *("--store", graph.store.url, "--option", "substituters", upstream),
                    ],
                    environment=environment(),
                )

            (compared,) = compare(rounds, plan, dry_run)
    yield Row.of(
        f"plan, {narinfos:,} narinfos over HTTP",
        "`nix-store --realise --dry-run`",
        compared,
        reach=1,
    )
