"""``prefetch diff``: what changed from one generation of a target to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mirror.cli.members import generation as members_of
from mirror.cli.options import Json, To
from mirror.cli.running import print_document, run, write_lines
from mirror.destinations.registry import open_destination
from mirror.errors import RequestError
from mirror.planning.changes import changes, packages_as_members
from mirror.planning.lists.list_values import did_you_mean
from mirror.quantities import moment, number, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.destinations import Generation
    from mirror.planning.changes import Changes


def command(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Name of the target.")],
    generations: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="NUMBER",
            help="Numbers of two of its generations, the earlier first; of one, it is compared "
            "with the newest. Default: the newest two.",
        ),
    ] = None,
    *,
    to: To = None,
    json: Json = False,
) -> None:
    """Show what changed between two generations, package by package.

    Names and versions are read from the names of the store paths that the generations keep, be
    it for use or for building. Paths that have kept their names are counted as rebuilt.
    """
    run(execute(target, tuple(generations or ()), to, json=json), json=json)


async def execute(target: str, numbers: tuple[int, ...], to: str | None, *, json: bool) -> int:
    """Compare two generations."""
    async with open_destination(to, must_exist=True, exclusive=False) as destination:
        kept = await destination.generations()
    before, after = _chosen(kept, target, numbers, destination.name)
    found = changes(before.paths, after.paths)
    if json:
        print_document("diff", _document(before, after, found, destination.name))
    else:
        write_lines(_lines(before, after, found))
    return 0


def _chosen(
    kept: Sequence[Generation], target: str, numbers: tuple[int, ...], destination: str
) -> tuple[Generation, Generation]:
    """The two generations that are meant.

    Raises:
        RequestError: there are no two such.

    """
    of_target = {each.number: each for each in kept if each.target == target}
    if not of_target:
        names = sorted({each.target for each in kept})
        raise RequestError(
            f"no generation of {target} in {destination}{did_you_mean(target, names)}",
            hint=f"there are generations of {', '.join(names)}" if names else "sync first",
        )
    there = ", ".join(map(str, sorted(of_target)))
    if len(numbers) > 2:  # noqa: PLR2004 - which the text says
        raise RequestError("two generations can be compared, not more")
    for each in numbers:
        if each not in of_target:
            raise RequestError(f"{target} has no generation {each}", hint=f"it has {there}")
    newest = sorted(of_target)[-2:]
    if not numbers and len(newest) < 2:  # noqa: PLR2004 - as above
        raise RequestError(
            f"{target} has one generation only ({there})",
            hint="the next sync that finds something new makes another",
        )
    first, second = (*numbers, newest[-1])[:2] if numbers else newest
    return of_target[first], of_target[second]


def _lines(before: Generation, after: Generation, found: Changes) -> Iterator[str]:
    target = after.target
    for each in (before, after):
        lacking = f", {len(each.missing):,} missing" if each.missing else ""
        yield (
            f"{target}: generation {each.number} of {moment(each.created)}, "
            f"{number(len(each.paths), 'path')}, {size(each.nar_bytes)}{lacking}"
        )
    for change in found.packages:
        yield f"  {change}"
    difference = after.nar_bytes - before.nar_bytes
    sign = "-" if difference < 0 else "+"
    yield (
        f"{number(len(found.packages), 'package')} changed, {found.rebuilt:,} rebuilt with the "
        f"same name; {number(len(found.added), 'path')} added, {len(found.removed):,} removed, "
        f"{sign}{size(abs(difference))}"
    )


def _document(
    before: Generation, after: Generation, found: Changes, destination: str
) -> dict[str, Any]:
    """``diff --json``."""
    return {
        "destination": destination,
        "before": members_of(before),
        "after": members_of(after),
        "packages": packages_as_members(found.packages),
        "rebuilt": found.rebuilt,
        "added": list(found.added),
        "removed": list(found.removed),
    }
