"""``prefetch verify``: open what is to be read, read it, perhaps mend it, say what was found."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mirror.cli.progress import Noting, observer, reading_progress
from mirror.cli.request import open_existing
from mirror.cli.running import print_document, write_error, write_lines
from mirror.cli.verify_report import VerifyReport
from mirror.errors import Attempt, PrefetchError, RequestError, TransientError
from mirror.nix.command import Nix
from mirror.sync.verify.verified import Mended
from mirror.sync.verify.verify import verify as read_again

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.cli.request import Request
    from mirror.destinations import CacheDirectory, NixStore
    from mirror.sync.verify.verified import Verified

_FETCHES: Final = 16


async def verify(
    request: Request,
    directory: str | None,
    *,
    jobs: int | None,
    repair: bool,
    quiet: bool,
    json: bool,
) -> int:
    """``prefetch verify``; 1 if something is damaged, and was not mended."""
    if directory is not None:
        if request.to is not None:
            raise RequestError(
                "verify reads one destination, and two are named",
                hint="prefetch verify DIR, or prefetch verify --to DEST",
            )
        request = replace(request, to=directory)
    jobs = jobs or os.cpu_count() or 1
    shown = Noting(observer())
    opened = open_existing(request.to, exclusive=repair, to_mend=True)
    async with opened as destination:
        verified = await read_again(destination, reading_progress(), jobs=jobs, is_locked=repair)
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
    verified: Verified, destination: CacheDirectory | NixStore, request: Request, shown: Noting
) -> Sequence[Mended]:
    """Mend what was found, also where no cache can be asked: origins may be, and this machine."""
    # Reading alone needs neither Nix nor HTTP.
    from mirror.sync.verify.repair import repair as mend  # noqa: PLC0415 - start-up time
    from mirror.sync.workshop import open_workshop  # noqa: PLC0415 - start-up time

    nix, options = await Nix.find(), request.options()
    try:
        async with open_workshop(nix, options, shown) as workshop:
            return await mend(verified, destination, workshop, shown, jobs=_FETCHES)
    except TransientError as error:
        unasked = Attempt(source="caches", error=error.message)
    async with open_workshop(nix, replace(options, substituters=()), shown) as workshop:
        mended = await mend(verified, destination, workshop, shown, jobs=_FETCHES)
    return [
        each
        if each.is_mended or each.damage.path is None
        else replace(each, attempts=(unasked, *each.attempts))
        for each in mended
    ]
