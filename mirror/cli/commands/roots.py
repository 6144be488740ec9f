"""``prefetch roots``: what is kept, for which target, since when, how large."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mirror.cli.clients_report import clients_document, refused_by_clients_lines
from mirror.cli.options import Json, To
from mirror.cli.running import print_document, run, write_error, write_lines
from mirror.cli.text import kept_state, table
from mirror.destinations.registry import open_destination
from mirror.planning.changes import as_members as since_as_members
from mirror.planning.refusals import as_members, summary
from mirror.quantities import moment, number, size
from mirror.sync.kept.clients import vouching_of
from mirror.sync.kept.completeness import as_they_are
from mirror.sync.kept.freshness import rehearsals
from mirror.sync.kept.listing import removal as removal_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mirror.destinations import Generation, RunRecord
    from mirror.errors import DestinationError
    from mirror.planning.vouching import Vouching
    from mirror.sync.kept.freshness import Rehearsal


def command(*, to: To = None, json: Json = False) -> None:
    """List what is kept: for which target, since when, how large.

    Each generation is listed with its rehearsal. What the last run of a target failed to get,
    and targets that are on no list any more, are named below.
    """
    run(execute(to, json=json), json=json)


async def execute(to: str | None, *, json: bool) -> int:
    """List the generations of a destination."""
    async with open_destination(to, must_exist=True, exclusive=False) as destination:
        generations = await as_they_are(await destination.generations(), destination)
        receipts = await destination.receipts()
        unreadable: list[DestinationError] = []
        runs = await destination.run_records(unreadable.append)
        vouching = await vouching_of(generations, destination, unreadable.append)
        is_for_others = destination.is_for_others
    for each in unreadable:
        write_error(f"passed over: {each.message}\n  {each.hint}")
    known = await asyncio.to_thread(rehearsals, generations, receipts)
    if json:
        members = _document(
            generations,
            known,
            runs,
            vouching,
            unreadable=unreadable,
            destination=destination.name,
        )
        print_document("roots", members)
    else:
        write_lines(_lines(generations, destination.name, known, runs))
        if is_for_others:
            write_lines(refused_by_clients_lines(vouching, destination.name))
    return 0


def _lines(
    generations: Sequence[Generation],
    destination: str,
    known: Mapping[tuple[str, int], Rehearsal],
    runs: Sequence[RunRecord],
) -> Iterator[str]:
    """What is kept, for which target, since when, how big; what failed last time."""
    if generations:
        yield from _generation_table(generations, known, runs)
    else:
        yield f"{destination} keeps nothing yet: `prefetch sync LIST` makes the first generation"
    removal = removal_command(runs, destination)
    for record in runs:
        if not record.is_listed:
            yield f"{record.target}: on no list any more, last on {record.last_list}"
            yield f"  to remove what is kept of it: {removal}"
            continue
        if record.problems:
            yield f"{record.target}: the last run, {moment(record.finished)}, had problems"
            yield from (f"  {problem}" for problem in record.problems)
        for line, hint in summary(each for each in record.refused if each.allowed):
            yield f"{record.target}: {line}; {hint}"
        if record.only_copies:
            copies = number(len(record.only_copies), "path")
            yield f"{record.target}: you hold the only copy of {copies}"
            yield from (f"  {path}" for path in record.only_copies)


def _generation_table(
    generations: Sequence[Generation],
    known: Mapping[tuple[str, int], Rehearsal],
    runs: Iterable[RunRecord],
) -> list[str]:
    refreshed = {(run.target, run.number): moment(run.finished) for run in runs if run.is_complete}
    rows = [("target", "generation", "since", "refreshed", "level", "paths", "size", "", "")]
    rows += [
        (
            each.target,
            str(each.number),
            moment(each.created),
            refreshed.get((each.target, each.number), ""),
            each.level,
            f"{len(each.paths):,}",
            size(each.nar_bytes),
            kept_state(each),
            _rehearsal_state(known.get((each.target, each.number))),
        )
        for each in generations
    ]
    return table(rows, right=frozenset({1, 5, 6}))


def _rehearsal_state(rehearsal: Rehearsal | None) -> str:
    """What ``roots`` says of a generation's rehearsal."""
    if rehearsal is None:
        return ""
    if rehearsal.state == "rehearsed":
        return f"rehearsed {moment(rehearsal.receipt.created)}"
    return f"rehearsal {rehearsal.state}"


def _document(
    generations: Iterable[Generation],
    known: Mapping[tuple[str, int], Rehearsal],
    runs: Sequence[RunRecord],
    vouching: Mapping[str, Vouching],
    *,
    unreadable: Iterable[DestinationError],
    destination: str,
) -> dict[str, Any]:
    """``roots --json``."""
    return {
        "destination": destination,
        "removal": removal_command(runs, destination),
        "unreadable": [{"message": each.message, "hint": each.hint} for each in unreadable],
        "generations": [
            {
                "target": each.target,
                "number": each.number,
                "installable": each.installable,
                "level": each.level,
                "root": each.root,
                "created": each.created.isoformat(),
                "paths": len(each.paths),
                "nar_bytes": each.nar_bytes,
                "missing": list(each.missing),
                "refused": as_members(each.refused),
                "receipt": _receipt(known.get((each.target, each.number))),
            }
            for each in generations
        ],
        "runs": [
            {
                "target": each.target,
                "finished": each.finished.isoformat(),
                "generation": each.number,
                "complete": each.is_complete,
                "problems": list(each.problems),
                "only_copies": list(each.only_copies),
                "listed": each.is_listed,
                "lists": None if each.lists is None else list(each.lists),
                "refused": as_members(each.refused),
                "duration_seconds": each.duration_seconds,
                "received_bytes": each.received_bytes,
                "state": each.state,
                "left_out": list(each.left_out),
                "changed": since_as_members(each.changed),
            }
            for each in runs
        ],
        "clients": clients_document(vouching),
    }


def _receipt(rehearsal: Rehearsal | None) -> dict[str, Any] | None:
    if rehearsal is None:
        return None
    receipt = rehearsal.receipt
    return {
        "state": rehearsal.state,
        "created": receipt.created.isoformat(),
        "root": receipt.root,
        "nix_version": receipt.nix_version,
        "lock_file": None if receipt.lock_file is None else str(receipt.lock_file),
        "lock_hash": receipt.lock_hash,
        "problem": receipt.problem,
        "edits": dict(receipt.edits),
    }
