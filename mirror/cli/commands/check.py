"""``prefetch check``: whether targets can be rebuilt without a network."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

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
from mirror.cli.running import print_document, run, write_lines
from mirror.cli.text import SHOWN, together, with_edit
from mirror.destinations.registry import open_destination
from mirror.errors import RequestError
from mirror.formats.store_path import StorePath, is_store_path
from mirror.nix.command import Nix
from mirror.planning.refusals import as_members, failing, summary
from mirror.quantities import number
from mirror.sync.offline.check import check
from mirror.system.plain_files import LARGEST_TEXT, given_pieces, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mirror.planning.readiness import Missing
    from mirror.sync.offline.check import Checked

_LARGEST_DUMP: Final = 1 << 30


def command(
    lists: Lists,
    *,
    only: Only = None,
    edits: Edits = None,
    to: To = None,
    store: Store = None,
    valid_paths: Annotated[
        Path | None,
        typer.Option(
            "--valid-paths",
            metavar="FILE",
            help="Check a store that has exactly the paths in this file: one per line, or "
            "the output of `nix-store --dump-db`.",
        ),
    ] = None,
    evaluators: Evaluators = None,
    evaluator_memory: EvaluatorMemory = None,
    json: Json = False,
) -> None:
    """Tell whether targets can be rebuilt without a network now.

    The network is not used and nothing is fetched. For each cause that keeps a target from
    being rebuilt, the missing path, the derivations that need it and the consequences are named.
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
    run(execute(request, valid_paths, json=json), json=json)


async def execute(request: Request, valid_paths: Path | None, *, json: bool) -> int:
    """Check the targets; 1 if one cannot be rebuilt offline, or is not what was asked for."""
    targets = await read_targets(request)
    nix = await Nix.find()
    shown = Noting(observer())
    bounds = request.evaluator_bounds()
    if valid_paths is not None:
        valid = await _read_valid_paths(valid_paths)
        checked = await check(
            targets,
            nix,
            shown,
            store=request.store,
            destination=None,
            valid_paths=valid,
            bounds=bounds,
        )
    else:
        async with open_destination(
            request.to, must_exist=True, exclusive=False, reads_contents=True, remembers=True
        ) as destination:
            checked = await check(
                targets, nix, shown, store=request.store, destination=destination, bounds=bounds
            )
    # A sync brings nothing into a store that is known by its list of paths alone.
    mending = request.mending if valid_paths is None else None
    if json:
        print_document("check", _document(checked, shown, mending))
    else:
        write_lines(lines(checked, mending))
    # What is built for want of what was refused, nobody asked for.
    refused = any(failing(each.refused) for each in checked if each.built_for_refusals)
    return 0 if all(each.is_ready for each in checked) and not refused else 1


def lines(checked: Iterable[Checked], mending: str | None) -> Iterator[str]:
    """``check``: ready or not; for what is missing, who needs it and what it would cost.

    ``mending`` is the command that brings it; None where no command does.
    """
    checked = list(checked)
    yield from together(
        (with_edit(each.target, each.edit), list(_lines_of(each))) for each in checked
    )
    if mending is not None and not all(each.is_ready for each in checked):
        yield f"with a network, this command fetches what is missing: {mending}"


def _lines_of(checked: Checked) -> Iterator[str]:
    """What is said of a target, or of one of its edits."""
    if not checked.is_applicable and checked.problem is not None:
        yield f"does not apply, {checked.problem.message}"
    elif checked.problem is not None:
        yield "not ready, it cannot be evaluated offline"
        yield from (f"  {line}" for line in checked.problem.message.splitlines())
        if checked.problem.hint:
            yield f"  {checked.problem.hint}"
    elif checked.readiness is not None and checked.readiness.is_ready:
        build = len(checked.readiness.build)
        yield f"ready, {number(build, 'derivation')} to build{_because(checked)}"
    elif checked.readiness is not None:
        missing = checked.readiness.missing
        yield f"not ready, {number(len(missing), 'cause')}"
        yield from _missing_lines(missing)


def _because(checked: Checked) -> str:
    """How many would be built for want of what the last sync refused, and what that was."""
    if not checked.built_for_refusals:
        return ""
    lines = "; ".join(f"{line}; {hint}" for line, hint in summary(checked.refused))
    return f", {len(checked.built_for_refusals):,} of them because of what was {lines}"


def _missing_lines(missing: Sequence[Missing]) -> Iterator[str]:
    """The causes, the one first whose absence costs most."""
    ordered = sorted(missing, key=lambda each: -each.cascade)
    for each in ordered[:SHOWN]:
        for path in each.paths:
            yield f"  {path}" + (f" ({each.names[path]})" if path in each.names else "")
            if path in each.problems:
                yield f"    {each.problems[path]}"
            if path in each.referrers:
                yield f"    {each.referrers[path]} refers to it"
        needed = " > ".join(path.name.removesuffix(".drv") for path in each.chain)
        yield f"    needed by {needed}" if needed else "    it is the target itself"
        if each.cascade > 1:
            yield (
                f"    without it Nix would build {number(each.cascade, 'derivation')}, "
                "and could not fetch their sources"
            )
    if len(ordered) > SHOWN:
        yield f"  and {len(ordered) - SHOWN:,} more (--json lists all)"


def _document(checked: Sequence[Checked], noting: Noting, mending: str | None) -> dict[str, Any]:
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


async def _read_valid_paths(file: Path) -> frozenset[StorePath]:
    """Read store paths, one a line; other lines of a database dump are no paths, and skipped.

    Raises:
        RequestError: the file cannot be read, or has none.

    """
    paths: set[StorePath] = set()
    rest = b""
    try:
        async with contextlib.aclosing(given_pieces(file, at_most=_LARGEST_DUMP)) as pieces:
            async for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > LARGEST_TEXT:
                    break
                paths |= set(_store_paths(lines))
    except (OSError, ValueError) as error:
        raise RequestError(f"{file} cannot be read: {reason(error)}") from error
    if len(rest) > LARGEST_TEXT:
        raise RequestError(f"{file} cannot be read: a line has more than {LARGEST_TEXT:,} bytes")
    paths |= set(_store_paths([rest]))
    if not paths:
        raise RequestError(
            f"{file} has no store path",
            hint="write it with: nix path-info --all, or nix-store --dump-db",
        )
    return frozenset(paths)


def _store_paths(lines: Iterable[bytes]) -> Iterator[StorePath]:
    for line in lines:
        text = line.decode(errors="replace").strip()
        if is_store_path(text):
            yield StorePath.parse(text)
