"""``prefetch verify``: read again what is kept, say what is damaged, perhaps mend it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mirror.cli.members import attempts
from mirror.cli.options import Json, NoArchives, Substituters, To, TrustedKeys, given
from mirror.cli.progress import Noting, observer, reading_progress
from mirror.cli.request import Request
from mirror.cli.running import print_document, run, write_error, write_lines
from mirror.destinations.registry import open_destination
from mirror.destinations.verified import Mended
from mirror.errors import Attempt, NotAvailableError, PrefetchError, RequestError, TransientError
from mirror.nix.command import Nix
from mirror.quantities import number, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.destinations import Destination
    from mirror.destinations.verified import Verified

_FETCHES: Final = 16


def command(
    directory: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR",
            help="Cache directory, or the URL of a Nix store, instead of --to.",
            show_default=False,
        ),
    ] = None,
    *,
    to: To = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            max=512,
            help="Number of files to read at the same time. Default: one per core.",
            show_default=False,
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Fetch damaged files again, from any source that has them."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing if nothing is damaged.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="URL",
            help="Nix store that a repair asks last. Default: the store that Nix uses.",
        ),
    ] = None,
    substituter: Substituters = None,
    trusted_key: TrustedKeys = None,
    no_archives: NoArchives = False,
    json: Json = False,
) -> None:
    """Read all that is kept again, and report or repair damage.

    NARs are unpacked and hashed; other files are compared with the checksums recorded when they
    were written. The destination may be in use by a sync or a server.
    """
    request = Request(
        lists=(),
        to=to,
        store=store,
        substituters=given(substituter),
        trusted_keys=given(trusted_key),
        builder=False,
        archives=not no_archives,
    )
    run(
        execute(request, directory, jobs=jobs, repair=repair, quiet=quiet, json=json),
        json=json,
    )


async def execute(
    request: Request,
    directory: str | None,
    *,
    jobs: int | None,
    repair: bool,
    quiet: bool,
    json: bool,
) -> int:
    """Verify a destination; 1 if something is damaged, and was not repaired."""
    if directory is not None:
        if request.to is not None:
            raise RequestError(
                "verify reads one destination, but two are given",
                hint="prefetch verify DIR, or prefetch verify --to DEST",
            )
        request = replace(request, to=directory)
    jobs = jobs or os.cpu_count() or 1
    shown = Noting(observer())
    opened = open_destination(request.to, must_exist=True, exclusive=repair, to_mend=True)
    async with opened as destination:
        verified = await destination.verify(reading_progress(), jobs=jobs)
        report = VerifyReport(
            verified=verified,
            mended=[Mended(damage=each, is_mended=False) for each in verified.damages],
            destination=destination.name,
            mending=_mending(request),
        )
        if repair and verified.damages:
            try:
                mended = await _repair(verified, destination, request, shown)
            except PrefetchError as error:
                report = replace(report, problem=error, told=shown.notices)
                _tell(report, quiet=quiet, json=json)
                raise
            report = replace(report, mended=mended, mending=None, told=shown.notices)
    _tell(report, quiet=quiet, json=json)
    return 0 if report.is_well else 1


def _tell(report: VerifyReport, *, quiet: bool, json: bool) -> None:
    if json:
        print_document("verify", report.document())
    elif report.is_news or not quiet:
        write_lines(report.lines())
        for line in report.notices():
            write_error(line)


def _mending(request: Request) -> str:
    return shlex.join(["prefetch", "verify", *([request.to] if request.to else []), "--repair"])


async def _repair(
    verified: Verified, destination: Destination, request: Request, shown: Noting
) -> Sequence[Mended]:
    """Mend what was found, also where no cache can be asked: origins may be, and this machine."""
    # Reading alone needs neither Nix nor HTTP.
    from mirror.sync.repair.refetch import repair as mend  # noqa: PLC0415 - start-up time
    from mirror.sync.workshop import open_workshop  # noqa: PLC0415 - start-up time

    nix, options = await Nix.find(), request.workshop_options()
    try:
        async with open_workshop(nix, options, shown) as workshop:
            return await mend(verified, destination, workshop, shown, jobs=_FETCHES)
    except (TransientError, NotAvailableError) as error:
        unasked = Attempt(source="caches", error=error.message)
    async with open_workshop(nix, replace(options, substituters=()), shown) as workshop:
        mended = await mend(verified, destination, workshop, shown, jobs=_FETCHES)
    return [
        each
        if each.is_mended or each.damage.path is None
        else replace(each, attempts=(unasked, *each.attempts))
        for each in mended
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What the verification of ``destination`` found, and what became of it, if it was ``mended``.

    ``mending`` is the command that has it mended; ``problem`` is what ended the repair,
    and ``told`` are its notices.
    """

    verified: Verified
    mended: Sequence[Mended]
    destination: str
    mending: str | None
    problem: PrefetchError | None = None
    told: Sequence[str] = ()

    @property
    def is_news(self) -> bool:
        """Whether anything was not as it was written."""
        return bool(self.verified.damages)

    @property
    def is_well(self) -> bool:
        """Whether everything is as it was written, or is so again."""
        return all(each.is_mended for each in self.mended)

    @property
    def _mendable(self) -> int:
        """How many of the damaged files a repair may mend."""
        return sum(not each.damage.is_mended_by_hand for each in self.mended)

    def lines(self) -> Iterator[str]:
        """One line for each damaged file, one for what was read."""
        for each in self.mended:
            yield from _lines(each)
        found = self.verified
        amount = (
            f"{number(found.paths, 'path')} and {number(found.files, 'file')}, {size(found.bytes)}"
        )
        if not self.mended:
            yield f"no damage at {self.destination}: {amount}"
            return
        there = f"{number(len(self.mended), 'damaged file')} at {self.destination}, of {amount}"
        if self.mending is None:
            yield f"{there}; {sum(each.is_mended for each in self.mended):,} repaired"
        elif mendable := self._mendable:
            which = "it" if len(self.mended) == 1 else f"{mendable:,} of them"
            which = "them" if 1 < mendable == len(self.mended) else which
            yield f"{there}; to repair {which}: {self.mending}"
        else:
            yield f"{there}; a repair cannot fix that: follow the hints above"

    def notices(self) -> Iterator[str]:
        """What its user should know besides."""
        found = self.verified
        if found.unproven:
            yield (
                f"{number(found.unproven, 'file')} without a checksum, written before there were "
                "any, or because their record was lost: the next generation that is kept records "
                "the present content"
            )
        for each in found.strays:
            yield f"not part of the cache, and not read: {each}"

    def document(self) -> dict[str, Any]:
        """``verify --json``."""
        found = self.verified
        return {
            "destination": self.destination,
            "checked": {"paths": found.paths, "files": found.files, "bytes": found.bytes},
            "damaged": [
                {
                    "file": each.damage.file,
                    "path": each.damage.path,
                    "problem": each.damage.problem,
                    "repaired": each.is_mended,
                    "source": each.source,
                    "attempts": attempts(each.attempts),
                    "set_aside": each.set_aside,
                    "hint": _hint(each),
                    "by_hand": each.damage.is_mended_by_hand,
                }
                for each in self.mended
            ],
            "mending": self.mending if self._mendable else None,
            "problem": self.problem
            and {"message": self.problem.message, "hint": self.problem.hint},
            "notices": list(self.told),
            "unproven": found.unproven,
            "strays": list(found.strays),
        }


def _lines(mended: Mended) -> Iterator[str]:
    damage = mended.damage
    problem = damage.problem.removeprefix(f"{damage.file}: ")
    yield f"{'repaired' if mended.is_mended else 'damaged'}: {damage.file}: {problem}"
    if mended.source:
        yield f"  obtained again from {mended.source}"
    if damage.path is not None and damage.path not in damage.problem + damage.file:
        yield f"  {damage.path}"
    if mended.is_mended:
        return
    for attempt in mended.attempts:
        yield f"  {attempt}"
    if mended.set_aside:
        yield f"  quarantined as {mended.set_aside}"
    if hint := _hint(mended):
        yield f"  {hint}"


def _hint(mended: Mended) -> str | None:
    """What to do about a damage that is still there."""
    damage = mended.damage
    if damage.hint or mended.is_mended or not mended.attempts or damage.path is None:
        return damage.hint
    if damage.path.is_derivation:
        return "`prefetch sync` of its list makes it again"
    return "`prefetch sync` fetches it as soon as a source has it"
