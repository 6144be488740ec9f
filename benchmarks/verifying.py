"""``prefetch verify`` of a synced cache directory, against C tools that do as much.

They decompress each NAR into ``openssl``, which hashes it, as many at once as there are cores; they
look at no structure and at no other file.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.measuring import Run, compare, run
from benchmarks.syncing import bench
from benchmarks.table import Row
from benchmarks.web import nginx

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(paths: int = 1000, size: int = 1_000_000_000, rounds: int = 5) -> Iterator[Row]:
    """Measure a row for each compression."""
    for compression in ("none", "xz", "zstd"):
        with bench(paths, size) as at:
            out = at.scratch / "out"
            with nginx(at.closure.cache(compression)) as upstream:
                at.sync(upstream, str(out))

            def verify() -> Run:
                command = (sys.executable, "-m", "mirror", "verify", at.scratch / "out")
                return run(command, environment=at.environment)

            def hashed() -> Run:
                return at.hashed(compression)  # noqa: B023 - called within this turn

            (compared,) = compare(rounds, verify, hashed)
        yield Row.of(
            f"verify of {size / 1e9:.2g} GB, {compression}", "C tools", compared, reach=1.2
        )
