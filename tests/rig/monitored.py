"""A mirror with something to say in every metric, and what its server says of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mirror.destinations import CacheDirectory, Receipt, RunRecord
from rig.made_paths import chain, generation, put
from rig.serving import serve_directory

if TYPE_CHECKING:
    from pathlib import Path

RUN: Final = datetime(2026, 11, 24, 3, 30, tzinfo=UTC)
REHEARSED: Final = {"laptop": RUN - timedelta(days=9), "pi": RUN - timedelta(days=40)}
GONE: Final = "tablet"
"""A target that has left its list, and was rehearsed before all others."""

_SAMPLE: Final = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Said:
    """What a server says: its metrics, its document and its page."""

    metrics: str
    status: Any
    page: str

    @property
    def samples(self) -> dict[str, dict[str, float]]:
        """The values of each metric, by their labels as they are written."""
        found: dict[str, dict[str, float]] = {}
        for each in _SAMPLE.finditer(self.metrics):
            found.setdefault(each["name"], {})[each["labels"] or ""] = float(each["value"])
        return found


async def monitored(directory: Path) -> Said:
    """Make the mirror, serve it, and ask it for everything that it says of itself."""
    links = chain(3)
    async with CacheDirectory.open(directory) as cache:
        for made in links:
            await put(cache, made)
        for name in ("laptop", "pi", GONE):
            kept = replace(generation(links, target=name), vouched={}, private=())
            await cache.keep(kept)
            await cache.record_run(
                RunRecord(
                    target=name,
                    finished=RUN,
                    number=1,
                    is_complete=name != "pi",
                    lists=() if name == GONE else ("/etc/prefetch/hosts.txt",),
                    last_list="/etc/prefetch/hosts.txt",
                    duration_seconds=200,
                    received_bytes=1_234_567,
                )
            )
            await cache.record(
                Receipt(
                    target=name,
                    number=1,
                    root=kept.root,
                    nix_version="2.34.8",
                    created=REHEARSED.get(name, RUN - timedelta(days=900)),
                    lock_file=None,
                    lock_hash=None,
                    problem="it cannot be built" if name == "pi" else None,
                    edits={},
                )
            )
    async with serve_directory(directory) as served:
        await served.ask("/nix-cache-info")
        page = (await served.ask("/")).body.decode()
        status = json.loads((await served.ask("/status.json")).body)
        metrics = (await served.ask("/metrics")).body.decode()
    return Said(metrics, status, page)
