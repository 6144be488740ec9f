"""Recording the result of a run, for each of its targets."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from mirror.destinations import RunRecord
from mirror.destinations.records.run_record import CHANGES_KEPT, as_problems
from mirror.errors import DestinationError, IncompleteError, PrefetchError
from mirror.planning.refusals import WRONG, Refusal, failing, summary
from mirror.sync.kept.changed import since_before
from mirror.sync.kept.listing import with_list
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence

    from mirror.destinations import Destination
    from mirror.formats.store_path import StorePath
    from mirror.planning.lists.targets import Target
    from mirror.planning.plan import TargetPlan
    from mirror.sync.meter import Meter
    from mirror.sync.report import Outcome

Failures = list[tuple["Target", PrefetchError]]


def problems(
    target: Target,
    plan: TargetPlan | None,
    outcomes: Mapping[StorePath, Outcome],
    failures: Failures,
    refused: Iterable[Refusal] = (),
) -> list[str]:
    """What a target failed of in a run: its errors, what was ``refused``, then each path."""
    found: list[str] = []
    for failed, error in failures:
        if failed.name == target.name:
            lists_reasons = isinstance(error, IncompleteError)
            found += error.message.splitlines() if lists_reasons else [error.message]
    found += [f"{line}; {hint}" for line, hint in summary(failing(refused))]
    if plan is not None:
        found += _path_problems(plan, outcomes)
    return found


def refused_downloads(
    plan: TargetPlan, outcomes: Mapping[StorePath, Outcome], caches: Collection[str]
) -> tuple[Refusal, ...]:
    """What the ``caches`` gave of a target that was not what it should be, and nobody else had."""
    return tuple(
        Refusal(path=path, cache=attempt.source, reason=attempt.error, hint=WRONG)
        for path in _failed(plan, outcomes)
        for attempt in outcomes[path].attempts
        if attempt.is_refusal and attempt.source in caches
    )


def _path_problems(plan: TargetPlan, outcomes: Mapping[StorePath, Outcome]) -> Iterator[str]:
    for path in _failed(plan, outcomes):
        yield f"{path}: {'; '.join(map(str, outcomes[path].attempts))}"
    for path, missing in sorted(plan.unobtainable.items()):
        yield f"{path}: {missing.reason}"


def _failed(plan: TargetPlan, outcomes: Mapping[StorePath, Outcome]) -> list[StorePath]:
    failed = {path for path, outcome in outcomes.items() if outcome.result == "failed"}
    return sorted(failed & plan.paths) if failed else []


async def record_run(
    found: Mapping[str, Sequence[str]],
    only_copies: Mapping[str, Collection[StorePath]],
    targets: Sequence[Target],
    destination: Destination,
    meter: Meter,
    *,
    refused: Mapping[str, Collection[Refusal]] = MappingProxyType({}),
    left_out: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    new: Collection[str] = (),
) -> None:
    """Record a completed run.

    ``found`` has each of the ``targets`` by name with what it failed of, ``only_copies`` the paths
    that nobody upstream has any more, ``refused`` what was not taken from the caches that have it,
    ``meter`` what the whole run took, ``left_out`` what a budget had no room for. ``new`` are the
    targets with a new generation.

    Raises:
        DestinationError: the destination cannot be used.

    """
    kept = await destination.generations()
    newest = {each.target: each for each in kept}
    unreadable: list[DestinationError] = []  # each is written anew
    before = {each.target: each for each in await destination.run_records(unreadable.append)}
    finished, duration = datetime.now(UTC).replace(microsecond=0), meter.duration_seconds
    files = {target.name: target.list_file for target in targets}
    for name, texts in found.items():
        generation = newest.get(name)
        earlier = before.get(name)
        lists = None if earlier is None else earlier.lists
        number = None if generation is None else generation.number
        if earlier is not None and earlier.number == number:
            changed = earlier.changed
        else:
            changed = None
            if generation is not None:
                changed = await in_thread(since_before, generation, kept)
        await destination.record_run(
            RunRecord(
                target=name,
                finished=finished,
                number=number,
                is_complete=not texts and generation is not None and not generation.missing,
                problems=as_problems(texts),
                only_copies=tuple(sorted(only_copies.get(name, ()))),
                lists=with_list(lists, files[name]),
                refused=tuple(sorted(refused.get(name, ()))),
                duration_seconds=duration,
                received_bytes=meter.received_bytes,
                state="failed" if texts else "new" if name in new else "unchanged",
                left_out=left_out.get(name, ()),
                changed=None if changed is None else changed.shortened(CHANGES_KEPT),
            )
        )


@contextlib.asynccontextmanager
async def failures_recorded(
    targets: Sequence[Target], destination: Destination, meter: Meter
) -> AsyncIterator[None]:
    """Record for each target what stops the whole run, such as caches that nobody can reach."""
    try:
        yield
    except PrefetchError as error:
        # Where the destination is what fails, the record may fail of the same.
        with contextlib.suppress(DestinationError):
            unreadable: list[DestinationError] = []
            records = await destination.run_records(unreadable.append)
            before = {each.target: each.only_copies for each in records}
            found = {target.name: [error.message] for target in targets}
            await record_run(found, before, targets, destination, meter)
        raise
