"""``prefetch why``: what leads from a target to a path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mirror.cli.options import Json, Store, To
from mirror.cli.progress import Noting, observer
from mirror.cli.request import Request, named_target
from mirror.cli.running import print_document, run, write_lines
from mirror.cli.text import with_edit
from mirror.destinations.registry import open_destination
from mirror.nix.command import Nix
from mirror.quantities import size
from mirror.sync.offline.why import why

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.planning.lists.targets import Target
    from mirror.sync.offline.why import Reason


def command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="Target as in a list, such as .#laptop; with --list, its name in that list.",
        ),
    ],
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Store path, its name, or the name of a package.")
    ],
    *,
    list_file: Annotated[
        Path | None,
        typer.Option(
            "--list",
            metavar="LIST",
            help="List that has TARGET, to use its level and edits.",
        ),
    ] = None,
    to: To = None,
    store: Store = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show every chain, not only the shortest one.")
    ] = False,
    json: Json = False,
) -> None:
    """Show why a target needs a path, and how large the path is.

    The shortest chain of derivations and references is printed, with what asked for the path,
    its size, and the size of its closure. The network is not used.
    """
    lists = () if list_file is None else (str(list_file),)
    request = Request(lists=lists, to=to, store=store)
    run(execute(request, target, path, every=every, json=json), json=json)


async def execute(request: Request, name: str, path: str, *, every: bool, json: bool) -> int:
    """Explain a path; 1 if nothing leads to it."""
    target = await named_target(request, name)
    shown = Noting(observer())
    async with open_destination(request.to, must_exist=True, exclusive=False) as destination:
        reasons = await why(
            target,
            path,
            await Nix.find(),
            shown,
            store=request.store,
            destination=destination,
        )
        place = destination.name
    if not every:
        reasons = [replace(each, ways=each.ways[:1]) for each in reasons[:1]]
    if json:
        members = _document(target, reasons, asked=path, noting=shown, destination=place)
        print_document("why", members)
    elif reasons:
        write_lines(line for each in reasons for line in _lines(target, each, place))
    else:
        write_lines([f"nothing leads from {target.name} to {path}"])
    return 0 if reasons else 1


def _lines(target: Target, reason: Reason, destination: str) -> Iterator[str]:
    """``why``: one line a step of each way, then who asked for what it leads to, and its size."""
    for way in reason.ways:
        yield with_edit(target, way.edit)
        for depth, step in enumerate(way.steps, start=1):
            yield f"{'  ' * depth}{step.relation} {step.path}"
    if reason.asked_by:
        yield f"asked for by {', '.join(reason.asked_by)}"
    else:
        yield f"in its build graph, but not needed at level {target.level.word}"
    if reason.nar_bytes is None or reason.closure_bytes is None:
        yield f"not at {destination}"
    else:
        yield f"{size(reason.nar_bytes)}, {size(reason.closure_bytes)} with its closure"


def _document(
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
