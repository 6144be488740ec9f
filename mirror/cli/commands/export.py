"""``prefetch export``: what a hermetic test must hold."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mirror.cli.failures import explain_failures, failure_lines, refused_lines
from mirror.cli.members import problem, unobtainable
from mirror.cli.options import (
    Edits,
    EvaluatorMemory,
    Evaluators,
    Json,
    Level,
    Lists,
    NoArchives,
    NoBuilder,
    Only,
    ReEvaluate,
    Store,
    Substituters,
    TrustedKeys,
    given,
)
from mirror.cli.progress import Noting, observer
from mirror.cli.request import Request, read_targets
from mirror.cli.running import print_document, run, write_error, write_lines
from mirror.errors import RequestError
from mirror.planning.hermetic import closure_info_lines, dot_lines
from mirror.planning.refusals import as_members
from mirror.sync.export import export
from mirror.sync.workshop import open_installed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.errors import PrefetchError
    from mirror.planning.hermetic import Export
    from mirror.planning.lists.targets import Target


class ExportForm(enum.Enum):
    """What ``export`` prints."""

    CLOSURE_INFO = "closure-info"
    PATHS = "paths"
    DOT = "dot"


def command(
    lists: Lists,
    *,
    only: Only = None,
    edits: Edits = None,
    form: Annotated[
        ExportForm | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="closure-info: a Nix list of the root paths, to be pasted into a test. "
            "paths (the default): all store paths, one per line. dot: the "
            "graph, for Graphviz.",
            show_default=False,
        ),
    ] = None,
    level: Level = None,
    store: Store = None,
    substituter: Substituters = None,
    trusted_key: TrustedKeys = None,
    no_builder: NoBuilder = False,
    no_archives: NoArchives = False,
    re_evaluate: ReEvaluate = False,
    evaluators: Evaluators = None,
    evaluator_memory: EvaluatorMemory = None,
    json: Json = False,
) -> None:
    """Print the store paths that a hermetic test needs.

    A NixOS test or a container that has these paths can rebuild the targets without a
    network. They are worked out as for an empty destination, and are not fetched.
    """
    request = Request(
        lists=tuple(lists),
        only=given(only),
        edits=edits,
        to=None,
        level=level,
        store=store,
        substituters=given(substituter),
        trusted_keys=given(trusted_key),
        builder=not no_builder,
        archives=not no_archives,
        re_evaluate=re_evaluate,
        evaluators=evaluators,
        evaluator_memory=evaluator_memory,
    )
    run(execute(request, form=form, json=json), json=json)


async def execute(request: Request, *, form: ExportForm | None, json: bool) -> int:
    """Plan from nothing, and print what that takes; 1 if that is not whole."""
    if json and form is not None:
        raise RequestError("export prints one form, but two are given", hint="--format or --json")
    targets = await read_targets(request)
    shown = Noting(observer())
    async with open_installed(request.workshop_options(), shown) as workshop:
        found = await export(targets, workshop, shown, named=form is ExportForm.CLOSURE_INFO)
    if json:
        members = _document(found.export, found.failures, shown)
        print_document("export", members)
    elif found.export.plan.targets:
        match form:
            case ExportForm.CLOSURE_INFO:
                write_lines(closure_info_lines(found.export, found.names))
            case ExportForm.PATHS | None:
                write_lines(found.export.references)
            case ExportForm.DOT:
                write_lines(dot_lines(found.export))
    explain_failures(found.failures)
    plan = found.export.plan
    for line in (
        *failure_lines((), plan),
        *refused_lines(plan, can_be_allowed=False),
    ):
        write_error(line)
    return 1 if found.failures or plan.unobtainable or plan.refused else 0


def _document(
    export: Export, failures: Iterable[tuple[Target, PrefetchError]], noting: Noting
) -> dict[str, Any]:
    """``export --json``."""
    plan = export.plan
    return {
        "targets": [
            {"name": each.target.name, "root": each.root, "notices": list(each.notices)}
            for each in plan.targets
        ],
        "problems": [problem(target, error) for target, error in failures],
        "notices": noting.notices,
        "paths": [
            {"path": path, "references": list(references)}
            for path, references in export.references.items()
        ],
        "roots": list(export.roots),
        "build": list(plan.build),
        "unobtainable": unobtainable(plan),
        "refused": as_members(plan.refused),
    }
