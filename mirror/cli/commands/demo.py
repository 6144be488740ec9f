"""``prefetch demo``: the whole job, shown on a distribution of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirror.cli.commands import check, plan
from mirror.cli.progress import observer
from mirror.cli.running import run, write_lines
from mirror.cli.sync_report import show as show_sync
from mirror.demo.story import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.sync.offline.check import Checked
    from mirror.sync.results import Planned, Synced


def command(
    *,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            # Elsewhere --keep is a number.
            envvar="PREFETCH_DEMO_KEEP",
            metavar="DIR",
            help="Keep the demo's files in this directory.",
        ),
    ] = None,
) -> None:
    """Show everything on this machine, without the internet.

    A small distribution is served on loopback, synced, and rebuilt after a garbage collection
    and without a network. Each step is verified. Your own Nix store is not touched.
    """
    run(execute(keep))


async def execute(keep: Path | None) -> int:
    """Tell the story."""
    await tell(keep, observer(), lambda text: write_lines([text]), _Show())
    return 0


class _Show:
    """Results as a person reads them: data on standard output, failures on standard error."""

    def plan(self, planned: Planned) -> None:
        write_lines(plan.lines(planned.plan, planned.need))

    def checked(self, checked: Sequence[Checked], mending: str | None) -> None:
        write_lines(check.lines(checked, mending))

    def synced(self, synced: Synced, destination: str) -> None:
        show_sync(synced, destination)
