"""``/metrics``: counters and sizes in Prometheus' text format, version 0.0.4."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.planning.refusals import paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mirror.serve.status.overview import Overview

    Sample = tuple[Mapping[str, str], float]


@dataclass(slots=True)
class Counters:
    """A server's counters since its start (``started``, seconds since 1970)."""

    started: float = field(default_factory=time.time)
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By kind of request and by status."""
    sent_bytes: int = 0
    """Of content, without headers."""
    in_flight: int = 0


def render(overview: Overview, counters: Counters, file_bytes: int | None) -> str:
    """Write the metrics."""
    return "".join(f"{line}\n" for line in _lines(overview, counters, file_bytes))


def _lines(overview: Overview, counters: Counters, file_bytes: int | None) -> Iterator[str]:
    yield from _metric(
        "requests_total",
        "counter",
        "Requests that were answered.",
        (
            ({"kind": kind, "status": str(status)}, count)
            for (kind, status), count in sorted(counters.requests.items())
        ),
    )
    yield from _metric(
        "sent_bytes_total", "counter", "Content that was sent.", [({}, counters.sent_bytes)]
    )
    yield from _metric(
        "requests_in_flight", "gauge", "Requests being answered.", [({}, counters.in_flight)]
    )
    yield from _metric(
        "start_time_seconds", "gauge", "When the server was started.", [({}, counters.started)]
    )
    yield from _metric("paths", "gauge", "Paths that are kept.", [({}, overview.paths)])
    if file_bytes is not None:
        yield from _metric("file_bytes", "gauge", "Size of all NAR files.", [({}, file_bytes)])
    yield from _metric(
        "unreadable_files",
        "gauge",
        "Manifests, receipts and records that cannot be read.",
        [({}, len(overview.unreadable))],
    )
    hosts = overview.hosts
    # Of a target that is on no list any more, nothing is told that somebody may have an alert for.
    listed = [host for host in hosts if host.is_listed]
    yield from _metric(
        "listed",
        "gauge",
        "Whether a target is on a list still, as far as is known.",
        (({"target": host.name}, int(host.is_listed)) for host in hosts),
    )
    yield from _metric(
        "generations",
        "gauge",
        "Generations that are kept of a target.",
        (({"target": host.name}, len(host.generations)) for host in hosts),
    )
    yield from _metric(
        "missing_paths",
        "gauge",
        "Paths that the newest generation of a target lacks.",
        (
            ({"target": host.name}, len(host.newest.missing))
            for host in listed
            if host.newest is not None
        ),
    )
    yield from _metric(
        "refused_by_clients",
        "gauge",
        "Paths of a target's newest generation that have no signature which a client can trust.",
        (
            ({"target": host.name}, len(host.vouching.refused))
            for host in listed
            if host.vouching is not None
        ),
    )
    yield from _metric(
        "refused_paths",
        "gauge",
        "Paths of the newest generation of a target that caches had and that were refused.",
        (
            ({"target": host.name}, paths(host.newest.refused))
            for host in listed
            if host.newest is not None
        ),
    )
    yield from _metric(
        "refreshed_time_seconds",
        "gauge",
        "When a target was last found to be all there.",
        (
            ({"target": host.name}, host.refreshed.timestamp())
            for host in listed
            if host.refreshed is not None
        ),
    )
    yield from _metric(
        "last_run_complete",
        "gauge",
        "Whether the last run had all that a target wanted.",
        (
            ({"target": host.name}, int(host.run.is_complete))
            for host in listed
            if host.run is not None
        ),
    )
    yield from _metric(
        "rehearsed",
        "gauge",
        "Whether the newest generation of a target was rehearsed, and is as it was then.",
        (
            (
                {"target": host.name},
                int(host.rehearsal is not None and host.rehearsal.state == "rehearsed"),
            )
            for host in listed
        ),
    )


def _metric(name: str, kind: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP prefetch_{name} {about}"
    yield f"# TYPE prefetch_{name} {kind}"
    for labels, value in samples:
        written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"prefetch_{name}{{{written}}} {value!r}" if written else f"prefetch_{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
