"""``prefetch rehearse``: build targets from what was kept alone, without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirror.cli.options import (
    Edits,
    EvaluatorMemory,
    Evaluators,
    Json,
    Lists,
    Only,
    Store,
    To,
    given,
)
from mirror.cli.progress import Noting, observer
from mirror.cli.request import Request, read_targets
from mirror.cli.running import explain, print_document, run, write_error, write_lines
from mirror.cli.text import with_edit
from mirror.destinations.registry import open_destination
from mirror.nix.command import Nix
from mirror.quantities import number
from mirror.sync.offline.rehearse import have_passed, rehearse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.sync.offline.rehearse import Rehearsed


def command(
    lists: Lists,
    *,
    only: Only = None,
    edits: Edits = None,
    to: To = None,
    store: Store = None,
    evaluators: Evaluators = None,
    evaluator_memory: EvaluatorMemory = None,
    json: Json = False,
) -> None:
    """Rebuild targets offline, from what is kept and nothing else.

    Each target, and each of its edits, is evaluated and built by the installed Nix with an
    empty store, empty caches, no network, and nothing to copy from but the destination. The result
    is recorded; `prefetch roots` shows it. A target for a platform that this machine does not build
    for is left out, and proves nothing.
    """
    request = Request(
        lists=tuple(lists),
        only=given(only),
        edits=edits,
        to=to,
        store=store,
        evaluators=evaluators,
        evaluator_memory=evaluator_memory,
    )
    run(execute(request, json=json), json=json)


async def execute(request: Request, *, json: bool) -> int:
    """Rehearse the targets; 1 if one fails."""
    targets = await read_targets(request)
    nix = await Nix.find()
    shown = Noting(observer())
    async with open_destination(request.to, must_exist=True, exclusive=False) as destination:
        rehearsed = await rehearse(
            targets, nix, shown, destination, store=request.store, bounds=request.evaluator_bounds()
        )
    if json:
        members = _document(rehearsed, shown, destination.name)
        print_document("rehearse", members)
    else:
        write_lines(lines(rehearsed))
    for each in rehearsed:
        if not each.has_passed and not each.is_left_out and each.problem is not None:
            explain(each.problem, about=with_edit(each.target, each.edit))
    if all(each.is_left_out for each in rehearsed):
        write_error("error: nothing was rehearsed: each target is for a platform of other machines")
    return 0 if have_passed(rehearsed) else 1


def lines(rehearsed: Iterable[Rehearsed]) -> Iterator[str]:
    """One line for a target and for each edit."""
    for each in rehearsed:
        name = with_edit(each.target, each.edit)
        if each.problem is None:
            built = number(each.built, "derivation")
            yield f"{name}: rehearsed, builds without a network ({built} built)"
        elif each.is_left_out:
            yield f"{name}: left out, {each.problem.message}"
            yield f"  {each.problem.hint}"
        elif not each.is_possible:
            yield f"{name}: cannot be rehearsed here"
        elif each.is_applicable:
            yield f"{name}: rehearsal failed"
        else:
            yield f"{name}: does not apply, {each.problem.message}"


def _document(rehearsed: Iterable[Rehearsed], noting: Noting, destination: str) -> dict[str, Any]:
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
                "left_out": each.is_left_out,
                "built": each.built,
                "problem": each.problem.message if each.problem else None,
                "hint": each.problem.hint if each.problem else None,
            }
            for each in rehearsed
        ],
    }
