"""Receipts and run records as files: what every destination with a directory of its own does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mirror.destinations.records.receipt import receipts_in
from mirror.destinations.records.run_record import run_records_in
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.destinations.records.documents import Told
    from mirror.destinations.records.receipt import Receipt
    from mirror.destinations.records.run_record import RunRecord


class RecordFiles:
    """The part of a destination that keeps records, in the directories ``receipts`` and ``runs``.

    Its methods are those of :class:`mirror.destinations.Destination`; they take no lock.
    """

    def __init__(self, *, receipts: Path, runs: Path) -> None:
        self._receipts = receipts_in(receipts)
        self._runs = run_records_in(runs)

    async def record(self, receipt: Receipt) -> None:
        """Write a receipt."""
        await in_thread(self._receipts.write, receipt)

    async def receipts(self, unreadable: Told | None = None) -> list[Receipt]:
        """The receipt of each target that was rehearsed."""
        return await asyncio.to_thread(self._receipts.read, unreadable)

    async def record_run(self, record: RunRecord) -> None:
        """Write a run record."""
        await in_thread(self._runs.write, record)

    async def run_records(self, unreadable: Told | None = None) -> list[RunRecord]:
        """The run record of each target that was synced, or was to be."""
        return await asyncio.to_thread(self._runs.read, unreadable)

    async def forget_records(self, target: str) -> None:
        """Remove the receipt and the run record of a target."""
        for kept in (self._receipts, self._runs):
            await in_thread(kept.remove, target)
