"""What ``--json`` prints: the members of documents, as ``mirror/schemas/`` describes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mirror.cli.clients_report import clients_document
from mirror.errors import EvaluationError, PrefetchError
from mirror.planning.refusals import as_members
from mirror.sync.kept.listing import removal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.cli.progress import Noting
    from mirror.destinations import Generation, RunRecord
    from mirror.errors import Attempt, DestinationError
    from mirror.planning.hermetic import Export
    from mirror.planning.lists.targets import Target
    from mirror.planning.plan import Plan, TargetPlan
    from mirror.planning.vouching import Vouching
    from mirror.sync.kept.freshness import Rehearsal
    from mirror.sync.offline.check import Checked
    from mirror.sync.offline.rehearse import Rehearsed
    from mirror.sync.offline.why import Reason
    from mirror.sync.run import Synced
    from mirror.sync.space import Need


Failures = Iterable[tuple["Target", PrefetchError]]


def plan_document(
    plan: Plan, failures: Failures, noting: Noting, destination: str
) -> dict[str, Any]:
    """``plan --json`` but for the room, and the first part of ``sync --json``."""
    return {
        "destination": destination,
        "targets": [_target(each) for each in plan.targets],
        "problems": [_problem(target, error) for target, error in failures],
        "notices": noting.notices,
        "build": list(plan.build),
        "built_for_refusals": list(plan.built_for_refusals),
        "substitute": [
            {
                "path": each.path,
                "from": each.offer.source,
                "download_bytes": each.offer.download_bytes,
                "nar_bytes": each.offer.nar_bytes,
            }
            for each in plan.substitute
        ],
        "fetch": [
            {
                "path": each.path,
                "method": each.origin.method,
                "urls": list(each.origin.urls),
                "hash": each.hash.sri,
                "mode": each.mode,
                "derivation": each.derivation,
            }
            for each in plan.fetch
        ],
        "copy": list(plan.copy),
        "present": list(plan.present),
        "incomplete": [
            {"path": path, "lacks": list(lacks)} for path, lacks in plan.incomplete.items()
        ],
        "unobtainable": _unobtainable(plan),
        "refused": as_members(plan.refused),
        "totals": {
            "paths": plan.missing,
            "download_bytes": plan.download_bytes,
            "nar_bytes": plan.nar_bytes,
        },
    }


def _target(plan: TargetPlan) -> dict[str, Any]:
    return {
        "name": plan.target.name,
        "installable": plan.target.installable_text,
        "level": plan.level.word,
        "root": plan.root,
        "edits": {edit.name: edit.root for edit in plan.edits if edit.root is not None},
        "edit_costs": [
            {
                "edit": edit.name,
                "applies": edit.is_applicable,
                "problem": edit.problem,
                "paths": edit.paths,
                "nar_bytes": edit.nar_bytes,
            }
            for edit in plan.edits
        ],
        "left_out": [
            {"kind": each.kind, "name": each.name, "nar_bytes": each.nar_bytes}
            for each in plan.left_out
        ],
        "notices": list(plan.notices),
    }


def _unobtainable(plan: Plan) -> list[dict[str, Any]]:
    return [
        {"path": each.path, "derivation": each.derivation, "reason": each.reason}
        for each in plan.unobtainable
    ]


def _problem(target: Target, error: PrefetchError) -> dict[str, Any]:
    """What a target failed of, as every document has it."""
    return {
        "name": target.name,
        "edit": error.edit if isinstance(error, EvaluationError) else None,
        "message": error.message,
        "hint": error.hint,
    }


def room(need: Need) -> dict[str, Any]:
    """What a plan needs of the room that there is."""
    return {
        "place": str(need.room.place),
        "free_bytes": need.room.bytes,
        "free_files": need.room.files,
        "needed_bytes": need.bytes,
        "unknown_sizes": need.unknown,
        "more_bytes": need.more_bytes,
        "more_files": need.more_files,
        "fits": need.fits,
    }


def sync_document(synced: Synced, noting: Noting, destination: str) -> dict[str, Any]:
    """``sync --json`` but for what became of the command that it ran."""
    unchanged = {(each.target, each.number) for each in synced.unchanged}
    return {
        **plan_document(synced.plan, synced.failures, noting, destination),
        "refused": as_members(synced.refused),
        "complete": synced.is_complete,
        "generations": [
            {
                **generation(each),
                "missing": list(each.missing),
                "unchanged": (each.target, each.number) in unchanged,
            }
            for each in sorted(
                (*synced.kept, *synced.unchanged), key=lambda each: (each.target, each.number)
            )
        ],
        "received_bytes": noting.received_bytes,
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


def attempts(tried: Iterable[Attempt]) -> list[dict[str, Any]]:
    """Places that were asked for a path and did not give it."""
    return [
        {"source": each.source, "error": each.error, "absent": each.is_absence} for each in tried
    ]


def generation(each: Generation) -> dict[str, Any]:
    """What the documents of what changes generations say of one."""
    return {
        "target": each.target,
        "number": each.number,
        "created": each.created.isoformat(),
        "paths": len(each.paths),
        "nar_bytes": each.nar_bytes,
        "complete": not each.missing,
    }


def check_document(
    checked: Sequence[Checked], noting: Noting, mending: str | None
) -> dict[str, Any]:
    """``check --json``."""
    is_ready = all(each.is_ready for each in checked)
    return {
        "mending": None if is_ready else mending,
        "notices": noting.notices,
        "targets": [
            {
                "name": each.target.name,
                "edit": each.edit,
                "root": each.root,
                "ready": each.is_ready,
                "applies": each.is_applicable,
                "problem": each.problem.message if each.problem else None,
                "hint": each.problem.hint if each.problem else None,
                "build": sorted(each.readiness.build) if each.readiness else [],
                "built_for_refusals": sorted(each.built_for_refusals),
                "refused": as_members(each.refused),
                "missing": [
                    {
                        "path": missing.paths[0],
                        "paths": [
                            {
                                "path": path,
                                "attribute": missing.names.get(path),
                                "referrer": missing.referrers.get(path),
                                "problem": missing.problems.get(path),
                            }
                            for path in missing.paths
                        ],
                        "derivation": missing.derivation,
                        "needed_by": list(missing.chain),
                        "cascade": missing.cascade,
                        "attribute": missing.names.get(missing.paths[0]),
                    }
                    for missing in (each.readiness.missing if each.readiness else ())
                ],
            }
            for each in checked
        ],
    }


def why_document(
    target: Target, reasons: Iterable[Reason], *, asked: str, noting: Noting, destination: str
) -> dict[str, Any]:
    """``why --json``."""
    return {
        "target": target.name,
        "level": target.level.word,
        "asked": asked,
        "destination": destination,
        "notices": noting.notices,
        "paths": [
            {
                "path": each.path,
                "asked_by": list(each.asked_by),
                "nar_bytes": each.nar_bytes,
                "closure_bytes": each.closure_bytes,
                "chains": [
                    {
                        "edit": way.edit,
                        "steps": [
                            {"relation": step.relation, "path": step.path} for step in way.steps
                        ],
                    }
                    for way in each.ways
                ],
            }
            for each in reasons
        ],
    }


def rehearsal_document(
    rehearsed: Iterable[Rehearsed], noting: Noting, destination: str
) -> dict[str, Any]:
    """``rehearse --json``."""
    return {
        "destination": destination,
        "notices": noting.notices,
        "targets": [
            {
                "name": each.target.name,
                "edit": each.edit,
                "passed": each.has_passed,
                "applies": each.is_applicable,
                "possible": each.is_possible,
                "built": each.built,
                "problem": each.problem.message if each.problem else None,
                "hint": each.problem.hint if each.problem else None,
            }
            for each in rehearsed
        ],
    }


def generations_document(
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
        "removal": removal(runs, destination),
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


def export_document(export: Export, failures: Failures, noting: Noting) -> dict[str, Any]:
    """``export --json``."""
    plan = export.plan
    return {
        "targets": [
            {"name": each.target.name, "root": each.root, "notices": list(each.notices)}
            for each in plan.targets
        ],
        "problems": [_problem(target, error) for target, error in failures],
        "notices": noting.notices,
        "paths": [
            {"path": path, "references": list(references)}
            for path, references in export.references.items()
        ],
        "roots": list(export.roots),
        "build": list(plan.build),
        "unobtainable": _unobtainable(plan),
        "refused": as_members(plan.refused),
    }
