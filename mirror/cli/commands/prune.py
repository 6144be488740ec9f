"""``prefetch prune``: drop old generations, and what nothing needs any more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mirror.cli.members import generation
from mirror.cli.options import Json, To
from mirror.cli.request import Request, read_lists
from mirror.cli.running import print_document, run, write_error, write_lines
from mirror.cli.signing_keys import signing_at
from mirror.destinations.registry import open_destination
from mirror.errors import RequestError
from mirror.planning.retention import Retention
from mirror.quantities import moment, number, size
from mirror.sync.kept.prune import prune

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.destinations.capabilities import Unsigned
    from mirror.sync.kept.prune import Pruned

_AGE: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
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
        int,
        typer.Option(
            "--keep",
            metavar="N",
            min=1,
            help="Keep the newest N complete generations of each target.",
        ),
    ] = 3,
    keep_within: Annotated[
        str | None,
        typer.Option(
            "--keep-within",
            metavar="AGE",
            help="Also keep all generations up to this age, such as 12h, 30d or 8w.",
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
    keep: int
    keep_within: str | None
    removed: bool
    grace: str
    served: bool
    old_signatures: bool
    dry_run: bool


async def execute(request: PruneRequest, *, json: bool) -> int:
    """Prune a destination; 1 if there are old signatures that must stay."""
    if request.removed and not request.lists:
        raise RequestError(
            "--removed needs lists: targets on none of them are dropped",
            hint="prefetch prune LIST… --removed",
        )
    targets = (
        await read_lists(Request(lists=request.lists, to=request.to)) if request.lists else None
    )
    retention = Retention(
        keep=request.keep,
        within=_read_age(request.keep_within) if request.keep_within else None,
    )
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
    return 1 if unsigned is not None and unsigned.left else 0


def _read_age(text: str) -> timedelta:
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise RequestError(
            f"not an age: {text!r}",
            hint="give a number and one of s, m, h, d, w, such as 12h or 30d",
        )
    return min(timedelta(**{_UNITS[found[2]]: int(found[1])}), _OLDEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """How a pruning of ``destination`` went, or would go."""

    pruned: Pruned
    unsigned: Unsigned | None
    destination: str
    removed: bool
    dry_run: bool

    def lines(self) -> Iterator[str]:
        """One line a dropped generation, one for each total."""
        selection = self.pruned.selection
        would = "would be " if self.dry_run else ""
        for each in selection.dropped:
            yield (
                f"{each.target}: generation {each.number} of {moment(each.created)} "
                f"{would}dropped, {number(len(each.paths), 'path')}, {size(each.nar_bytes)}"
            )
        totals = [*self._totals(would), *self._signature_lines(would)]
        yield from totals or ([] if selection.dropped else [self._nothing()])

    def notices(self) -> Iterator[str]:
        """What its user should know besides."""
        selection = self.pruned.selection
        if not self.removed:
            for name in selection.unlisted:
                yield f"{name} is on none of the lists, and is kept; --removed removes it"
        if self.unsigned is not None and self.unsigned.left:
            yield (
                f"{number(self.unsigned.left, 'path')} with older signatures only: "
                "kept, until `prefetch sign --all` has signed them again"
            )

    def document(self) -> dict[str, Any]:
        """``prune --json``."""
        selection, swept = self.pruned.selection, self.pruned.swept
        collectable, unsigned = self.pruned.collectable, self.unsigned
        held_back = None if swept is None else swept.held_back
        return {
            "destination": self.destination,
            "dry_run": self.dry_run,
            "dropped": [generation(each) for each in selection.dropped],
            "kept": [generation(each) for each in selection.kept],
            "unlisted": list(selection.unlisted),
            "swept": swept
            and {
                "paths": list(swept.retired),
                "files": swept.files,
                "bytes": swept.bytes,
                "unreadable": list(swept.unreadable),
                "held_back": held_back
                and {
                    "paths": held_back.paths,
                    "bytes": held_back.bytes,
                    "until": held_back.until.isoformat(),
                    "running": held_back.is_running,
                },
            },
            "collectable": collectable
            and {"paths": collectable.paths, "nar_bytes": collectable.nar_bytes},
            "signatures": unsigned
            and {
                "newest": unsigned.newest and str(unsigned.newest),
                "paths": unsigned.paths,
                "left": unsigned.left,
                "forgotten": [str(key) for key in unsigned.forgotten],
            },
        }

    def _totals(self, would: str) -> Iterator[str]:
        swept, collectable = self.pruned.swept, self.pruned.collectable
        if swept is not None and (swept.retired or swept.files):
            yield (
                f"{number(len(swept.retired), 'path')} {would}removed from {self.destination}, "
                f"{number(swept.files, 'file')} {would}deleted, {size(swept.bytes)}"
            )
        if swept is not None and swept.unreadable:
            yield (
                f"no NAR {would}deleted, since {', '.join(swept.unreadable)} cannot be read: sync "
                "again, which repairs it, then prune"
            )
        if swept is not None and swept.held_back is not None:
            held_back = swept.held_back
            whose = "the running server" if held_back.is_running else "a server that ran here"
            yield (
                f"held back for clients of {whose}: {number(held_back.paths, 'path')}, "
                f"{size(held_back.bytes)}; prune again after {moment(held_back.until)}"
            )
        if collectable is not None and self.pruned.selection.dropped:
            frees = "would then free" if self.dry_run else "frees"
            yield (
                f"`nix-collect-garbage` {frees} {number(collectable.paths, 'path')}, "
                f"{size(collectable.nar_bytes)}, unless something else needs them"
            )

    def _signature_lines(self, would: str) -> Iterator[str]:
        unsigned = self.unsigned
        if unsigned is None or unsigned.newest is None:
            return
        if unsigned.paths:
            yield (
                f"older signatures {would}removed from {number(unsigned.paths, 'path')}, "
                f"those by {unsigned.newest.name} kept"
            )
        for key in unsigned.forgotten:
            yield f"{key.name} {would}forgotten"

    def _nothing(self) -> str:
        if not self.pruned.selection.kept:
            return f"{self.destination} keeps no generation: nothing to prune"
        return f"nothing to prune at {self.destination}"
