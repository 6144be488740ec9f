"""What ``--json`` prints: the members of documents, as ``mirror/schemas/`` describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirror.cli.clients_report import clients_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.destinations import Generation, RunRecord
    from mirror.planning.plan import Plan
    from mirror.planning.targets import Target
    from mirror.planning.vouching import Vouching
    from mirror.sync.check import Checked
    from mirror.sync.freshness import Rehearsal
    from mirror.sync.rehearse import Rehearsed
    from mirror.sync.run import Synced
    from mirror.sync.why import Reason


def plan_document(plan: Plan) -> dict[str, Any]:
    """``plan --json``, and the first part of ``sync --json``."""
    return {
        "targets": [
            {
                "name": each.target.name,
                "installable": each.target.installable_text,
                "level": each.level.word,
                "root": each.root,
                "edits": {edit.name: edit.root for edit in each.edits if edit.root is not None},
            }
            for each in plan.targets
        ],
        "build": list(plan.build),
        "substitute": [
            {
                "path": each.path,
                "from": each.offer.source,
                "download_bytes": each.offer.download_bytes,
                "nar_bytes": each.offer.info.nar_size,
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
            }
            for each in plan.fetch
        ],
        "present": list(plan.present),
        "unobtainable": [
            {"path": each.path, "derivation": each.derivation, "reason": each.reason}
            for each in plan.unobtainable
        ],
        "totals": {
            "paths": plan.missing,
            "download_bytes": plan.download_bytes,
            "nar_bytes": plan.nar_bytes,
        },
    }


def sync_document(synced: Synced) -> dict[str, Any]:
    """``sync --json``."""
    return {
        **plan_document(synced.plan),
        "outcomes": [
            {
                "path": each.path,
                "result": each.result,
                "source": each.source,
                "attempts": [
                    {"source": attempt.source, "error": attempt.error} for attempt in each.attempts
                ],
            }
            for each in synced.outcomes
        ],
        "only_copies": [
            {"path": path, "reason": reason} for path, reason in synced.only_copies.items()
        ],
        "unlisted": list(synced.unlisted.names),
        "clients": clients_document(synced.vouching),
    }


def check_document(checked: Iterable[Checked]) -> dict[str, Any]:
    """``check --json``."""
    return {
        "targets": [
            {
                "name": each.target.name,
                "edit": each.edit,
                "root": each.root,
                "ready": each.is_ready,
                "problem": each.problem.message if each.problem else None,
                "missing": [
                    {
                        "path": missing.paths[0],
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


def why_document(target: Target, reasons: Iterable[Reason]) -> dict[str, Any]:
    """``why --json``."""
    return {
        "target": target.name,
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


def rehearsal_document(rehearsed: Iterable[Rehearsed]) -> dict[str, Any]:
    """``rehearse --json``."""
    return {
        "targets": [
            {
                "name": each.target.name,
                "edit": each.edit,
                "passed": each.has_passed,
                "applies": each.is_applicable,
                "built": each.built,
                "problem": each.problem.message if each.problem else None,
            }
            for each in rehearsed
        ],
    }


def generations_document(
    generations: Iterable[Generation],
    known: Mapping[tuple[str, int], Rehearsal],
    runs: Iterable[RunRecord],
    vouching: Mapping[str, Vouching],
) -> dict[str, Any]:
    """``roots --json``."""
    return {
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
