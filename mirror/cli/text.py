"""Text that several commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.planning.refusals import paths
from mirror.quantities import number, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mirror.destinations import Generation
    from mirror.planning.lists.targets import Target
    from mirror.planning.plan import TargetPlan

SHOWN: Final = 8
"""How many of a long list of names a person is shown."""


def table(rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Rows in columns, those in ``right`` aligned to the right."""
    rows = list(rows)
    widths = (
        [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    )
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def together(said: Iterable[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """What is said of each name: the first line after the name, the others below it.

    Names of which the same is said share it where they are many: fifty hosts fit on a screen.
    """
    reports = [(name, tuple(lines)) for name, lines in said if lines]
    names: dict[tuple[str, ...], list[str]] = {}
    for name, lines in reports:
        names.setdefault(lines, []).append(name)
    for name, (first, *others) in reports:
        alike = names[first, *others]
        if len(alike) > SHOWN:
            if name != alike[0]:
                continue
            name = f"{', '.join(alike[:SHOWN])} and {len(alike) - SHOWN:,} more"  # noqa: PLW2901
        yield f"{name}: {first}"
        yield from others


def shown(names: Sequence[str]) -> Iterator[str]:
    """The first of many names, and how many more there are."""
    yield from (f"  {name}" for name in names[:SHOWN])
    if len(names) > SHOWN:
        yield f"  and {len(names) - SHOWN:,} more (--json lists all)"


def edit_lines(plan: TargetPlan, *, unless_free: bool = False) -> Iterator[str]:
    """What each edit comes to, be it nothing; ``unless_free`` leaves those out."""
    for edit in plan.edits:
        if edit.root is not None:
            if unless_free and not edit.paths:
                continue
            yield f"{edit.name} adds {number(edit.paths, 'path')}, {size(edit.nar_bytes)}"
        elif not edit.is_applicable:
            yield f"{edit.name} does not apply: {edit.problem}"


def kept_state(generation: Generation) -> str:
    """What keeps a generation from being whole: ``incomplete: 3 paths missing, 2 refused``."""
    refused = paths(generation.refused)
    if generation.missing:
        missing = number(len(generation.missing), "path")
        return f"incomplete: {missing} missing" + (f", {refused:,} refused" if refused else "")
    return f"{number(refused, 'path')} refused, as allowed" if refused else ""


def place(destination: str) -> str:
    """What a destination is called where it is not to be typed."""
    return "this machine's Nix store" if destination == "auto" else destination


def with_edit(target: Target, edit: str | None) -> str:
    """What a target with an edit is called: ``laptop with dnsmasq``."""
    return target.name + (f" with {edit}" if edit else "")
