"""What the JSON documents of several commands have, as ``mirror/schemas/`` describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirror.errors import EvaluationError
from mirror.planning.refusals import as_members

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.cli.progress import Noting
    from mirror.destinations import Generation
    from mirror.errors import Attempt, PrefetchError
    from mirror.planning.lists.targets import Target
    from mirror.planning.plan import Plan, TargetPlan


def plan_members(
    plan: Plan, failures: Iterable[tuple[Target, PrefetchError]], noting: Noting, destination: str
) -> dict[str, Any]:
    """``plan --json`` but for the room, and the first part of ``sync --json``."""
    return {
        "destination": destination,
        "targets": [_target(each) for each in plan.targets],
        "problems": [problem(target, error) for target, error in failures],
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
        "unobtainable": unobtainable(plan),
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


def unobtainable(plan: Plan) -> list[dict[str, Any]]:
    """What nothing gives, and why."""
    return [
        {"path": each.path, "derivation": each.derivation, "reason": each.reason}
        for each in plan.unobtainable
    ]


def problem(target: Target, error: PrefetchError) -> dict[str, Any]:
    """What a target failed of, as every document has it."""
    return {
        "name": target.name,
        "edit": error.edit if isinstance(error, EvaluationError) else None,
        "message": error.message,
        "hint": error.hint,
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
