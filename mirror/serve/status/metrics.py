"""``/metrics``: counters and sizes in Prometheus' text format, version 0.0.4."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from mirror.planning.refusals import paths
from mirror.version import program_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mirror.destinations import RunRecord
    from mirror.serve.status.overview import Host, Overview

    Sample = tuple[Mapping[str, str], float]

Of = TypeVar("Of")


@dataclass(slots=True)
class Counters:
    """A server's counters since its start (``started``, seconds since 1970)."""

    started: float = field(default_factory=time.time)
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By kind of request and by status."""
    sent_bytes: int = 0
    """Of content, without headers."""
    in_flight: int = 0

    @property
    def since(self) -> datetime:
        """When the server was started, to the second."""
        return datetime.fromtimestamp(int(self.started), UTC)


def render(overview: Overview, counters: Counters, file_bytes: int | None) -> str:
    """Write the metrics."""
    lines = (
        *_of_the_server(counters),
        *_of_all(overview, file_bytes),
        *_of_hosts(overview.hosts),
        *_of_listed(overview.listed),
    )
    return "".join(f"{line}\n" for line in lines)


def _of_the_server(counters: Counters) -> Iterator[str]:
    yield from _metric(
        "build_info", "gauge", "The version that serves, 1.", [({"version": program_version()}, 1)]
    )
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
        "sent_bytes_total",
        "counter",
        "Content that was served since the server was started, without headers.",
        [({}, counters.sent_bytes)],
    )
    yield from _metric(
        "requests_in_flight", "gauge", "Requests being answered.", [({}, counters.in_flight)]
    )
    yield from _metric(
        "start_time_seconds", "gauge", "When the server was started.", [({}, counters.started)]
    )


def _of_all(overview: Overview, file_bytes: int | None) -> Iterator[str]:
    yield from _metric("paths", "gauge", "Paths that are kept.", [({}, overview.paths)])
    if file_bytes is not None:
        yield from _metric("file_bytes", "gauge", "Size of all NAR files.", [({}, file_bytes)])
    yield from _metric(
        "unreadable_files",
        "gauge",
        "Manifests, receipts and records that cannot be read.",
        [({}, len(overview.unreadable))],
    )
    yield from _metric(
        "attention_targets",
        "gauge",
        "Targets that somebody should look at.",
        [({}, len(overview.troubled))],
    )
    oldest = overview.oldest_rehearsal
    yield from _metric(
        "oldest_rehearsal_timestamp_seconds",
        "gauge",
        "When the target was rehearsed whose rehearsal is the oldest.",
        [] if oldest is None else [({}, oldest.timestamp())],
    )


def _of_hosts(hosts: Sequence[Host]) -> Iterator[str]:
    named = {host.name: host for host in hosts}
    yield from _gauge(
        "listed",
        "Whether a target is on a list still, as far as is known.",
        named,
        lambda host: host.is_listed,
    )
    yield from _gauge(
        "generations",
        "Generations that are kept of a target.",
        named,
        lambda host: len(host.generations),
    )


def _of_listed(listed: Sequence[Host]) -> Iterator[str]:
    """Of a target that is on no list any more, nothing is told that there may be an alert for."""
    named = {host.name: host for host in listed}
    yield from _gauge(
        "complete",
        "Whether a target has a generation, and the newest has all that the target wants.",
        named,
        lambda host: host.is_complete,
    )
    yield from _gauge(
        "lost_paths",
        "Paths that the newest generation of a target had once, and that are gone or damaged now.",
        named,
        lambda host: len(host.lost),
    )
    newest = {host.name: host.newest for host in listed if host.newest is not None}
    yield from _gauge(
        "missing_paths",
        "Paths that the newest generation of a target lacks.",
        newest,
        lambda generation: len(generation.missing),
    )
    yield from _gauge(
        "refused_paths",
        "Paths of the newest generation of a target that caches had and that were refused.",
        newest,
        lambda generation: paths(generation.refused),
    )
    yield from _gauge(
        "refused_by_clients",
        "Paths of a target's newest generation that have no signature which a client can trust.",
        {host.name: host.vouching for host in listed if host.vouching is not None},
        lambda vouching: len(vouching.refused),
    )
    yield from _gauge(
        "refreshed_time_seconds",
        "When a target was last found to be all there.",
        {host.name: host.refreshed for host in listed if host.refreshed is not None},
        lambda refreshed: refreshed.timestamp(),
    )
    yield from _of_last_runs({host.name: host.run for host in listed if host.run is not None})
    rehearsals = {host.name: host.rehearsal for host in listed if host.rehearsal is not None}
    yield from _gauge(
        "rehearsed",
        "Whether the newest generation of a target was rehearsed, and is as it was then.",
        named,
        lambda host: host.rehearsal is not None and host.rehearsal.state == "rehearsed",
    )
    yield from _gauge(
        "rehearsal_timestamp_seconds",
        "When a target was last rehearsed, whatever came of it.",
        rehearsals,
        lambda rehearsal: rehearsal.receipt.created.timestamp(),
    )
    yield from _gauge(
        "rehearsal_failed",
        "Whether the last rehearsal of a target failed, and nothing has changed since.",
        rehearsals,
        lambda rehearsal: rehearsal.state == "failed",
    )


def _of_last_runs(runs: Mapping[str, RunRecord]) -> Iterator[str]:
    yield from _gauge(
        "last_run_complete",
        "Whether the last run had all that a target wanted.",
        runs,
        lambda run: run.is_complete,
    )
    yield from _gauge(
        "last_run_timestamp_seconds",
        "When the last run with a target on its lists ended.",
        runs,
        lambda run: run.finished.timestamp(),
    )
    durations = {name: run.duration_seconds for name, run in runs.items()}
    yield from _gauge(
        "last_run_duration_seconds",
        "How long the last run with a target on its lists took, for all of them.",
        {name: each for name, each in durations.items() if each is not None},
        int,
    )
    received = {name: run.received_bytes for name, run in runs.items()}
    yield from _gauge(
        "last_run_received_bytes",
        "What the last run with a target on its lists received from a network, for all of them.",
        {name: each for name, each in received.items() if each is not None},
        int,
    )


def _gauge(
    name: str, about: str, named: Mapping[str, Of], value: Callable[[Of], float]
) -> Iterator[str]:
    """A gauge of targets, from what is known of each by its name; truth is 1."""
    samples = (({"target": target}, value(each) + 0) for target, each in named.items())
    yield from _metric(name, "gauge", about, samples)


def _metric(name: str, kind: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP prefetch_{name} {about}"
    yield f"# TYPE prefetch_{name} {kind}"
    for labels, value in samples:
        written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"prefetch_{name}{{{written}}} {value!r}" if written else f"prefetch_{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
