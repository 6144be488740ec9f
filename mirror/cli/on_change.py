"""``sync --on-change COMMAND``: the user's own command, once something new is kept."""

from __future__ import annotations

import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import CommandError
from mirror.system.processes import started

if TYPE_CHECKING:
    from mirror.sync.results import Synced

_SHELL: Final = "/bin/sh"


@dataclass(slots=True)
class OnChange:
    """What became of the command: None while it was not run; ``problem`` until it ended well."""

    command: str | None = None
    problem: str | None = None

    def document(self) -> dict[str, str | None] | None:
        """As a document has it."""
        if self.command is None:
            return None
        return {"command": self.command, "problem": self.problem}


async def run_on_change(command: str, synced: Synced, destination: str, ran: OnChange) -> None:
    """Run the command by the shell, unless nothing changed; only an interruption ends it early.

    ``ran`` has what became of it, however this ends.

    It is told what changed by ``PREFETCH_DESTINATION``, ``PREFETCH_TARGETS`` (names, a space
    between) and ``PREFETCH_RESULT`` (``complete`` or ``incomplete``) in its environment. What it
    prints goes to standard error: standard output is for the data of the sync.

    Raises:
        CommandError: it failed, or could not be started.

    """
    if not synced.kept:
        return
    ran.command, ran.problem = command, "interrupted"
    try:
        await _run(command, synced, destination)
    except CommandError as error:
        ran.problem = error.message
        raise
    ran.problem = None


async def _run(command: str, synced: Synced, destination: str) -> None:
    environment = {
        **os.environ,
        "PREFETCH_DESTINATION": destination,
        "PREFETCH_TARGETS": " ".join(each.target for each in synced.kept),
        "PREFETCH_RESULT": "complete" if synced.is_complete else "incomplete",
    }
    async with contextlib.AsyncExitStack() as stack:
        running = started(
            [_SHELL, "-c", command],
            stdin=DEVNULL,
            stdout=sys.stderr,
            stderr=sys.stderr,
            environment=environment,
        )
        try:
            process = await stack.enter_async_context(running)
        except OSError as error:
            raise CommandError(f"{_SHELL} cannot be started: {error}") from error
        code = await process.wait()
    if code != 0:
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        raise CommandError(
            f"the command given with --on-change failed ({how}): {command}",
            hint="what was synced is kept nevertheless",
        )
