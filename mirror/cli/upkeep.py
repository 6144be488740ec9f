"""The commands that tidy what is kept already: ``prune``, ``sign``."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from mirror.cli import upkeep_report
from mirror.cli.keys import read_key
from mirror.cli.request import Request, open_existing, read_lists
from mirror.cli.running import print_document, write_error, write_lines
from mirror.destinations import CacheDirectory
from mirror.destinations.records.vouched import refused_by_clients
from mirror.errors import RequestError
from mirror.planning.retention import Retention
from mirror.sync.kept import prune as pruning
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.destinations import NixStore
    from mirror.errors import DestinationError

_AGE: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_OLDEST: Final = timedelta(weeks=52 * 100)
"""What is said to be older means all there is; dates do not go back as far as ages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRequest:
    """What ``prune`` was asked, as it was typed."""

    lists: tuple[Path, ...]
    to: str | None
    keep: int
    keep_within: str | None
    removed: bool
    grace: str
    served: bool
    old_signatures: bool
    dry_run: bool


async def prune(request: PruneRequest, *, json: bool) -> int:
    """``prefetch prune``; 1 if there are old signatures that must stay."""
    if request.removed and not request.lists:
        raise RequestError(
            "--removed takes lists: what is on none of them is dropped",
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
    async with open_existing(request.to, exclusive=not request.dry_run) as destination:
        if request.old_signatures:
            cache = _cache_directory(destination, "remove signatures from")
        pruned = await pruning.prune(
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
            unsigned = await in_thread(cache.signatures.remove_old, dry_run=request.dry_run)
    report = upkeep_report.PruneReport(
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


async def sign(to: str | None, key_file: Path, *, every: bool, dry_run: bool, json: bool) -> int:
    """``prefetch sign``."""
    key = await read_key(key_file)
    async with open_existing(to, exclusive=not dry_run, signing_key=key) as destination:
        cache = _cache_directory(
            destination,
            "sign in",
            hint=shlex.join(
                [
                    *("nix", "store", "sign", "--store", destination.name),
                    *("--key-file", str(key_file), "--all"),
                ]
            ),
        )
        passed_over: list[DestinationError] = []
        is_refused = refused_by_clients(
            await cache.generations(passed_over.append), await cache.signers()
        )
        signed = await in_thread(
            cache.signatures.add, key, again=every, dry_run=dry_run, is_refused=is_refused
        )
    for error in passed_over:
        write_error(f"passed over: {error.message}\n  {error.hint}")
    report = upkeep_report.SignReport(
        signed=signed, key=key.public, destination=destination.name, dry_run=dry_run
    )
    if json:
        print_document("sign", report.document())
    else:
        write_lines(report.lines())
    return 0


def _cache_directory(
    destination: CacheDirectory | NixStore, doing: str, *, hint: str | None = None
) -> CacheDirectory:
    if not isinstance(destination, CacheDirectory):
        raise RequestError(
            f"only a cache directory is one to {doing}, and {destination.name} is a Nix store",
            hint=hint or "Nix keeps a store's signatures: they do no harm there",
        )
    return destination


def _read_age(text: str) -> timedelta:
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise RequestError(
            f"not an age: {text!r}", hint="a number and one of s, m, h, d, w: 12h, 30d"
        )
    return min(timedelta(**{_UNITS[found[2]]: int(found[1])}), _OLDEST)
