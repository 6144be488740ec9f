"""``prefetch diff``: what changed from one generation of a target to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mirror.cli.failures import explain_failures
from mirror.cli.members import generation as members_of
from mirror.cli.options import (
    Json,
    NoArchives,
    NoBuilder,
    Store,
    Substituters,
    To,
    TrustedKeys,
    given,
)
from mirror.cli.progress import Noting, observer
from mirror.cli.request import Request, read_targets
from mirror.cli.running import print_document, run, write_lines
from mirror.destinations.registry import open_destination
from mirror.errors import RequestError
from mirror.planning.changes import changes, packages_as_members
from mirror.planning.lists.list_values import did_you_mean
from mirror.quantities import moment, number, size
from mirror.sync.run import plan as make_plan
from mirror.sync.workshop import open_installed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from mirror.destinations import Generation
    from mirror.formats.store_path import StorePath
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
    lists: Annotated[
        list[str] | None,
        typer.Option(
            "--list",
            metavar="LIST",
            help="List that has the target: the generation is compared with what a sync of it "
            "would keep now. Can be repeated.",
        ),
    ] = None,
    store: Store = None,
    substituter: Substituters = None,
    trusted_key: TrustedKeys = None,
    no_builder: NoBuilder = False,
    no_archives: NoArchives = False,
    json: Json = False,
) -> None:
    """Show what changed between two generations, package by package.

    Names and versions are read from the names of the store paths that the generations keep, be
    it for use or for building. Paths that have kept their names are counted as rebuilt.
    """
    request = Request(
        lists=tuple(lists or ()),
        to=to,
        only=(target,) if lists else None,
        store=store,
        substituters=given(substituter),
        trusted_keys=given(trusted_key),
        builder=not no_builder,
        archives=not no_archives,
    )
    run(execute(target, tuple(generations or ()), request, json=json), json=json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of what is compared: a generation, or what a sync would keep.

    ``paths`` are those that are not private, of which `sync` and a server tell nothing; ``count``
    is that of all. ``size`` is as uncompressed NARs, None if it is not known of all paths.
    """

    label: str
    paths: Collection[StorePath]
    count: int
    size: int | None
    missing: int
    generation: Generation | None = None

    @classmethod
    def of(cls, generation: Generation) -> Side:
        """A generation."""
        return cls(
            label=f"generation {generation.number} of {moment(generation.created)}",
            paths=set(generation.paths).difference(generation.private or ()),
            count=len(generation.paths),
            size=generation.nar_bytes,
            missing=len(generation.missing),
            generation=generation,
        )


async def execute(target: str, numbers: tuple[int, ...], request: Request, *, json: bool) -> int:
    """Compare two generations, or one with a plan; 1 if there is no plan to compare with."""
    if request.lists:
        compared = await _with_plan(target, numbers, request)
        if compared is None:
            return 1
        before, after, name = compared
    else:
        async with open_destination(request.to, must_exist=True, exclusive=False) as destination:
            kept, name = await destination.generations(), destination.name
        before, after = map(Side.of, _chosen(kept, target, numbers, name))
    found = changes(before.paths, after.paths)
    if json:
        print_document("diff", _document(before, after, found, name))
    else:
        write_lines(_lines(target, before, after, found))
    return 0


async def _with_plan(
    target: str, numbers: tuple[int, ...], request: Request
) -> tuple[Side, Side, str] | None:
    """A generation, what a sync would keep now, and where; None, and why, without a plan."""
    targets = await read_targets(request)
    noting = Noting(observer())
    async with (
        open_destination(request.to, must_exist=True, exclusive=False) as destination,
        open_installed(request.workshop_options(), noting) as workshop,
    ):
        kept = await destination.generations()
        before = Side.of(_newest_or(kept, target, numbers, destination.name))
        planned = await make_plan(targets, workshop, destination, noting)
    explain_failures(planned.failures)
    if not planned.plan.targets:
        return None
    (plan,) = planned.plan.targets
    lacking = {each.path for each in planned.plan.unobtainable} | plan.lacking
    kept_then = plan.kept - lacking
    after = Side(
        label="a sync now",
        paths=kept_then - plan.private,
        count=len(kept_then),
        size=None,
        missing=len(lacking),
    )
    return before, after, destination.name


def _newest_or(
    kept: Sequence[Generation], target: str, numbers: tuple[int, ...], destination: str
) -> Generation:
    """The generation that is compared with a plan: the newest, unless a number is given.

    Raises:
        RequestError: there is no such.

    """
    if len(numbers) > 1:
        raise RequestError("with --list, one generation is compared with a plan, not two")
    newest = max((each.number for each in kept if each.target == target), default=0)
    before, _ = _chosen(kept, target, (*(numbers or (newest,)), newest), destination)
    return before


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


def _lines(target: str, before: Side, after: Side, found: Changes) -> Iterator[str]:
    for each in (before, after):
        lacking = f", {each.missing:,} missing" if each.missing else ""
        taking = "" if each.size is None else f", {size(each.size)}"
        yield f"{target}: {each.label}, {number(each.count, 'path')}{taking}{lacking}"
    for change in found.packages:
        yield f"  {change}"
    difference = ""
    if before.size is not None and after.size is not None:
        more = after.size - before.size
        difference = f", {'-' if more < 0 else '+'}{size(abs(more))}"
    yield (
        f"{number(len(found.packages), 'package')} changed, {found.rebuilt:,} rebuilt with the "
        f"same name; {number(len(found.added), 'path')} added, {len(found.removed):,} removed"
        f"{difference}"
    )


def _document(before: Side, after: Side, found: Changes, destination: str) -> dict[str, Any]:
    """``diff --json``."""
    return {
        "destination": destination,
        "before": before.generation and members_of(before.generation),
        # A plan is none.
        "after": after.generation and members_of(after.generation),
        "packages": packages_as_members(found.packages),
        "rebuilt": found.rebuilt,
        "added": list(found.added),
        "removed": list(found.removed),
    }
