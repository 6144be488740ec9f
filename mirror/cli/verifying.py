"""``prefetch verify``: open what is to be read, read it, say what was found."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Never

from tqdm import tqdm

from mirror.cli.commands import print_json
from mirror.cli.documents import VERSION
from mirror.cli.request import open_existing
from mirror.cli.running import write_error, write_lines
from mirror.destinations import CacheDirectory
from mirror.errors import RequestError
from mirror.quantities import number, size
from mirror.sync.verify import Verified, verify_cache

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What ``verify`` was asked, as it was typed."""

    directory: str | None
    to: str | None
    jobs: int | None
    quiet: bool

    @property
    def destination(self) -> str | None:
        """What is to be read, as ``--to`` names it.

        Raises:
            RequestError: two are named.

        """
        if self.directory is not None and self.to is not None:
            raise RequestError(
                "verify reads one destination, and two are named",
                hint="prefetch verify DIR, or prefetch verify --to DEST",
            )
        return self.to if self.directory is None else self.directory


async def verify(request: VerifyRequest, *, json: bool) -> int:
    """``prefetch verify``."""
    to = request.destination
    jobs = request.jobs or os.cpu_count() or 1
    async with open_existing(to, exclusive=False) as destination:
        assert isinstance(destination, CacheDirectory)
        verified = await verify_cache(destination, _progress(), jobs=jobs, is_locked=False)
    report = VerifyReport(verified=verified, destination=destination.name)
    if json:
        print_json(report.document())
    elif report.is_news or not request.quiet:
        write_lines(report.lines())
        for line in report.notices():
            write_error(line)
    return 1 if verified.damages else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What the verification of ``destination`` found."""

    verified: Verified
    destination: str

    @property
    def is_news(self) -> bool:
        """Whether anything was not as it was written."""
        return bool(self.verified.damages)

    def lines(self) -> Iterator[str]:
        """One line for each damaged file, one for what was read."""
        found = self.verified
        for each in found.damages:
            yield f"damaged: {each.file}: {each.problem}"
            if each.hint:
                yield f"  {each.hint}"
        amount = (
            f"{number(found.paths, 'path')} in {number(found.files, 'file')}, {size(found.bytes)}"
        )
        if found.damages:
            yield f"{number(len(found.damages), 'damage')} at {self.destination}, of {amount}"
        else:
            yield f"all well at {self.destination}: {amount}"

    def notices(self) -> Iterator[str]:
        """What its user should know besides."""
        found = self.verified
        if found.unproven:
            yield (
                f"{number(found.unproven, 'file')} of before there were checksums: as far as can "
                "be told they are right, and the next generation kept records them"
            )
        for each in found.strays:
            yield f"not of the cache, not read: {each}"

    def document(self) -> dict[str, Any]:
        """``verify --json``."""
        found = self.verified
        return {
            "version": VERSION,
            "destination": self.destination,
            "checked": {"paths": found.paths, "files": found.files, "bytes": found.bytes},
            "damaged": [
                {"file": each.file, "path": each.path, "problem": each.problem}
                for each in found.damages
            ],
            "unproven": found.unproven,
            "strays": list(found.strays),
        }


def _progress() -> _Bar | _Nothing:
    return _Bar() if sys.stderr.isatty() else _Nothing()


class _Nothing:
    """For cron, pipes and logs."""

    def begin(self, total: int) -> None: ...

    def read(self, amount: int) -> None: ...

    def end(self) -> None: ...


class _Bar:
    """For a person who watches: bytes, rate."""

    def __init__(self) -> None:
        self._bar: tqdm[Never] | None = None

    def begin(self, total: int) -> None:
        self._bar = tqdm(
            total=total,
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
            file=sys.stderr,
            leave=False,
        )

    def read(self, amount: int) -> None:
        if self._bar is not None:
            self._bar.total = max(self._bar.total or 0, int(self._bar.n) + amount)
            self._bar.update(amount)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
