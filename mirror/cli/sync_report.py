"""What ``prefetch sync`` says of a run, to people and to programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirror.cli.clients_report import clients_document
from mirror.cli.failures import failure_lines, refused_lines
from mirror.cli.members import attempts, generation, plan_members
from mirror.cli.running import write_error, write_lines
from mirror.cli.text import SHOWN, edit_lines, kept_state, place, together
from mirror.planning.changes import as_members as since_as_members
from mirror.planning.refusals import as_members
from mirror.planning.sharing import exposed_lines
from mirror.quantities import duration, number, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.cli.progress import Noting
    from mirror.destinations import Generation
    from mirror.planning.plan import TargetPlan
    from mirror.sync.results import Summary, Synced


def show(synced: Synced, destination: str) -> None:
    """Show a sync to a person: data on standard output, failures on standard error."""
    write_lines(_lines(synced, destination))
    for line in failure_lines(synced.outcomes, synced.plan):
        write_error(line)
    for line in refused_lines(synced.plan, synced.refused):
        write_error(line)


def _lines(synced: Synced, destination: str) -> Iterator[str]:
    """What a sync ended with: a line a new generation, one for the others, one for all of it."""
    plans = {each.target.name: each for each in synced.plan.targets}
    yield from together(
        (each.target, list(_kept_lines(each, synced, plans.get(each.target))))
        for each in synced.kept
    )
    if synced.unchanged:
        names = [f"{each.target} ({each.number})" for each in synced.unchanged]
        others = [f"{len(names) - SHOWN:,} more"] if len(names) > SHOWN else []
        state = ", still incomplete" if any(each.missing for each in synced.unchanged) else ""
        yield f"nothing new at {place(destination)}: {', '.join([*names[:SHOWN], *others])}{state}"
    if synced.kept or synced.summary.failed:
        yield _closing(synced.summary, destination)
    if synced.unlisted.removal is not None:
        yield f"on no list any more: {', '.join(synced.unlisted.names)}"
        yield f"  to remove what is kept of it: {synced.unlisted.removal}"
    for path, reason in synced.only_copies.items():
        yield f"you hold the only copy of {path}"
        yield f"  {reason}"


def _kept_lines(kept: Generation, synced: Synced, plan: TargetPlan | None) -> Iterator[str]:
    """A new generation, what it changed, what its edits cost and what of it is exposed."""
    yield (
        f"generation {kept.number}, {number(len(kept.paths), 'path')}, {size(kept.nar_bytes)}, "
        f"{kept_state(kept) or 'complete'}"
    )
    if kept.target in synced.changed:
        yield f"  {synced.changed[kept.target].line(SHOWN)}"
    if plan is not None:
        yield from (f"  {line}" for line in edit_lines(plan, unless_free=True))
        yield from (f"  {line}" for line in exposed_lines(plan.exposed))


def _closing(summary: Summary, destination: str) -> str:
    """What a run came to, in a line."""
    targets = (
        f"{len(names):,} {state}"
        for state, names in (
            ("new", summary.new),
            ("unchanged", summary.unchanged),
            ("failed", summary.failed),
        )
    )
    received, took = size(summary.received_bytes), duration(summary.duration_seconds)
    parts = [
        ", ".join(targets),
        f"{number(summary.stored, 'path')} stored, {received} fetched in {took}",
    ]
    if summary.refused:
        parts.append(f"{number(summary.refused, 'path')} refused")
    if summary.left_out:
        left_out = (f"{', '.join(what)} of {name}" for name, what in summary.left_out.items())
        parts.append(f"left out: {', '.join(left_out)}")
    return f"{place(destination)}: {'; '.join(parts)}"


def _summary(summary: Summary) -> dict[str, Any]:
    """The same for a program."""
    return {
        "new": list(summary.new),
        "unchanged": list(summary.unchanged),
        "failed": list(summary.failed),
        "stored": summary.stored,
        "received_bytes": summary.received_bytes,
        "duration_seconds": summary.duration_seconds,
        "refused": summary.refused,
        "left_out": {name: list(what) for name, what in summary.left_out.items()},
    }


def document(synced: Synced, noting: Noting, destination: str) -> dict[str, Any]:
    """``sync --json`` but for what became of the command that it ran."""
    unchanged = {(each.target, each.number) for each in synced.unchanged}
    return {
        **plan_members(synced.plan, synced.failures, noting, destination),
        "refused": as_members(synced.refused),
        "complete": synced.is_complete,
        "generations": [
            {
                **generation(each),
                "missing": list(each.missing),
                "unchanged": (each.target, each.number) in unchanged,
                "changed": since_as_members(synced.changed.get(each.target)),
            }
            for each in sorted(
                (*synced.kept, *synced.unchanged), key=lambda each: (each.target, each.number)
            )
        ],
        "summary": _summary(synced.summary),
        "refreshed": [
            {"what": each.what, "changes": list(each.changes), "put_back": each.put_back}
            for each in synced.refreshed
        ],
        "outcomes": [
            {
                "path": each.path,
                "result": each.result,
                "source": each.source,
                "attempts": attempts(each.attempts),
            }
            for each in synced.outcomes
        ],
        "only_copies": [
            {"path": path, "reason": reason} for path, reason in synced.only_copies.items()
        ],
        "unlisted": list(synced.unlisted.names),
        "removal": synced.unlisted.removal,
        "clients": clients_document(synced.vouching),
    }
