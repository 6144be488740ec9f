"""``prefetch prune``: drop old generations, and what nothing needs any more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from mirror.cli.amounts import read_size
from mirror.cli.options import Json, To
from mirror.cli.prune_report import PruneReport
from mirror.cli.request import Request, read_lists
from mirror.cli.running import print_document, run, write_error, write_lines
from mirror.cli.signing_keys import signing_at
from mirror.destinations.registry import open_destination
from mirror.errors import RequestError
from mirror.planning.retention import Retention
from mirror.sync.kept.prune import prune

_AGE: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_KEEP: Final = 3
_OLDEST: Final = timedelta(weeks=52 * 100)
"""What is said to be older means all there is; dates do not go back as far as ages."""


def command(
    lists: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LIST",
            help="Prune only the targets on these lists, and name the others that are kept.",
            show_default=False,
        ),
    ] = None,
    *,
    to: To = None,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep",
            "--keep-last",
            metavar="N",
            min=1,
            help="Keep the newest N complete generations of each target. Default: 3; 1 with "
            "--keep-daily, --keep-weekly or --keep-monthly; all with --max-size alone.",
            show_default=False,
        ),
    ] = None,
    keep_within: Annotated[
        str | None,
        typer.Option(
            "--keep-within",
            metavar="AGE",
            help="Also keep all generations up to this age, such as 12h, 30d or 8w.",
        ),
    ] = None,
    keep_daily: Annotated[
        int,
        typer.Option(
            "--keep-daily",
            metavar="N",
            min=0,
            help="Also keep the newest complete generation of each day, for the last N days that "
            "have one. Days, weeks (from Monday) and months are those of the local time zone.",
            show_default=False,
        ),
    ] = 0,
    keep_weekly: Annotated[
        int,
        typer.Option(
            "--keep-weekly",
            metavar="N",
            min=0,
            help="The same for the last N weeks that have one.",
            show_default=False,
        ),
    ] = 0,
    keep_monthly: Annotated[
        int,
        typer.Option(
            "--keep-monthly",
            metavar="N",
            min=0,
            help="The same for the last N months that have one.",
            show_default=False,
        ),
    ] = 0,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            help="Of what these rules keep, remove the oldest generations of all targets until the "
            "rest takes at most this, such as 200G. The newest of a target always stays.",
        ),
    ] = None,
    removed: Annotated[
        bool,
        typer.Option(
            "--removed", help="Remove all generations of targets that are on none of the lists."
        ),
    ] = False,
    grace: Annotated[
        str,
        typer.Option(
            "--grace",
            metavar="AGE",
            help="How long a server continues to serve what is removed from a directory.",
        ),
    ] = "1h",
    served: Annotated[
        bool,
        typer.Option(
            "--served",
            help="Apply --grace although no `prefetch serve` was seen, because another web "
            "server serves the directory.",
        ),
    ] = False,
    old_signatures: Annotated[
        bool,
        typer.Option(
            "--old-signatures",
            help="Also remove the signatures of every key that signed here but the newest.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be removed; change nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove old generations, and paths that no generation needs.

    In a cache directory, paths that no generation needs are then deleted; if a server is
    running or ran recently, only after --grace. In a Nix store, the next garbage collection frees
    the space.
    """
    request = PruneRequest(
        lists=tuple(lists or ()),
        to=to,
        keep=keep,
        keep_within=keep_within,
        keep_daily=keep_daily,
        keep_weekly=keep_weekly,
        keep_monthly=keep_monthly,
        max_size=max_size,
        removed=removed,
        grace=grace,
        served=served,
        old_signatures=old_signatures,
        dry_run=dry_run,
    )
    run(execute(request, json=json), json=json)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRequest:
    """What ``prune`` was asked, as it was typed."""

    lists: tuple[str, ...]
    to: str | None
    keep: int | None
    keep_within: str | None
    keep_daily: int
    keep_weekly: int
    keep_monthly: int
    max_size: str | None
    removed: bool
    grace: str
    served: bool
    old_signatures: bool
    dry_run: bool

    @property
    def retention(self) -> Retention:
        """The rules that say which generations stay.

        Raises:
            RequestError: an age cannot be read.

        """
        within = _read_age(self.keep_within) if self.keep_within else None
        calendar = (self.keep_daily, self.keep_weekly, self.keep_monthly)
        default: int | None = _KEEP
        if any(calendar):
            default = 1
        elif within is None and self.max_size is not None:
            default = None
        return Retention(
            keep=default if self.keep is None else self.keep,
            within=within,
            daily=self.keep_daily,
            weekly=self.keep_weekly,
            monthly=self.keep_monthly,
        )


async def execute(request: PruneRequest, *, json: bool) -> int:
    """Prune a destination; 1 if old signatures must stay, or what is kept is too large."""
    if request.removed and not request.lists:
        raise RequestError(
            "--removed needs lists: targets on none of them are dropped",
            hint="prefetch prune LIST… --removed",
        )
    targets = (
        await read_lists(Request(lists=request.lists, to=request.to)) if request.lists else None
    )
    retention = request.retention
    max_size = read_size(request.max_size) if request.max_size else None
    grace = _read_age(request.grace)
    unsigned = None
    async with open_destination(
        request.to, must_exist=True, exclusive=not request.dry_run
    ) as destination:
        if request.old_signatures:
            signing = signing_at(destination, "remove signatures from")
        pruned = await prune(
            destination,
            retention,
            listed=None if targets is None else {target.name for target in targets},
            removed=request.removed,
            grace=grace,
            now=datetime.now(UTC),
            dry_run=request.dry_run,
            is_served=request.served,
            max_size=max_size,
        )
        if request.old_signatures:
            unsigned = await signing.remove_old(dry_run=request.dry_run)
    report = PruneReport(
        pruned=pruned,
        unsigned=unsigned,
        destination=destination.name,
        removed=request.removed,
        dry_run=request.dry_run,
    )
    if json:
        print_document("prune", report.document())
    else:
        write_lines(report.lines())
    for line in report.notices():
        write_error(line)
    return 1 if report.is_lacking else 0


def _read_age(text: str) -> timedelta:
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise RequestError(
            f"not an age: {text!r}",
            hint="give a number and one of s, m, h, d, w, such as 12h or 30d",
        )
    return min(timedelta(**{_UNITS[found[2]]: int(found[1])}), _OLDEST)
