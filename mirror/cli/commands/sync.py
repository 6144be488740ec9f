"""``prefetch sync``: fetch what targets need, verify it and keep it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirror.cli.clients_report import refused_by_clients_lines
from mirror.cli.commands import plan
from mirror.cli.failures import explain_failures
from mirror.cli.on_change import OnChange, run_on_change
from mirror.cli.options import (
    OUTPUT,
    SOURCES,
    AllowRefused,
    Edits,
    EvaluatorMemory,
    Evaluators,
    Json,
    Level,
    Lists,
    NoArchives,
    NoBuilder,
    Only,
    ReEvaluate,
    Store,
    Substituters,
    To,
    TrustedKeys,
    given,
)
from mirror.cli.progress import Noting, QuietObserver, observer
from mirror.cli.request import Request, read_targets
from mirror.cli.running import print_document, run, write_error, write_lines
from mirror.cli.signing_keys import read_key
from mirror.cli.sync_report import document, show
from mirror.destinations.registry import open_destination
from mirror.errors import LockedError, PrefetchError
from mirror.sync.run import sync as make_ready
from mirror.sync.sync_options import SyncOptions
from mirror.sync.workshop import open_installed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.sync.results import Synced


def command(
    lists: Lists,
    *,
    only: Only = None,
    edits: Edits = None,
    to: To = None,
    level: Level = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            max=512,
            help="Number of paths to obtain at the same time.",
        ),
    ] = 16,
    limit_rate: Annotated[
        str | None,
        typer.Option(
            "--limit-rate",
            metavar="RATE",
            rich_help_panel=SOURCES,
            help="Maximum download rate in bytes per second, such as 500k or 2M.",
        ),
    ] = None,
    build: Annotated[
        bool, typer.Option("--build", help="Also build what no cache has, and keep the outputs.")
    ] = False,
    signing_key: Annotated[
        Path | None,
        typer.Option(
            "--signing-key",
            metavar="FILE",
            help="Sign what is made here with this secret key (see `prefetch key generate`).",
        ),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Continue after a path that cannot be obtained.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the plan, as `prefetch plan` does.")
    ] = False,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="First update the lock files of flakes in local directories, the channels, "
            "and what Nix has cached of other inputs. An update with which a target "
            "cannot be made ready is undone.",
        ),
    ] = False,
    ask_upstream: Annotated[
        bool,
        typer.Option(
            "--ask-upstream",
            help="Ask caches and origins whether they still have what is kept. Report once "
            "the paths of which this is the only copy.",
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Print nothing if nothing is new and everything is present.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    skip_if_running: Annotated[
        bool,
        typer.Option(
            "--skip-if-running",
            help="If another run holds the destination, say so and exit with code 0.",
        ),
    ] = False,
    on_change: Annotated[
        str | None,
        typer.Option(
            "--on-change",
            metavar="COMMAND",
            help="Shell command to run if something new was kept. It is given "
            "PREFETCH_DESTINATION, PREFETCH_TARGETS and PREFETCH_RESULT (complete or "
            "incomplete) in its environment. No time limit; use `timeout 5m …`.",
        ),
    ] = None,
    store: Store = None,
    substituter: Substituters = None,
    trusted_key: TrustedKeys = None,
    no_builder: NoBuilder = False,
    no_archives: NoArchives = False,
    allow_refused: AllowRefused = False,
    re_evaluate: ReEvaluate = False,
    evaluators: Evaluators = None,
    evaluator_memory: EvaluatorMemory = None,
    json: Json = False,
) -> None:
    """Fetch what targets need, verify it and keep it.

    Each path is verified before it becomes visible. What a target needs is recorded as a
    generation, which protects it from garbage collection. An interrupted run is completed by the
    next one.
    """
    request = Request(
        lists=tuple(lists),
        only=given(only),
        edits=edits,
        to=to,
        level=level,
        store=store,
        substituters=given(substituter),
        trusted_keys=given(trusted_key),
        builder=not no_builder,
        archives=not no_archives,
        limit_rate=limit_rate,
        signing_key=signing_key,
        allow_refused=allow_refused,
        re_evaluate=re_evaluate,
        evaluators=evaluators,
        evaluator_memory=evaluator_memory,
    )
    if dry_run:
        run(plan.execute(request, json=json), json=json)
    options = SyncOptions(
        jobs=jobs,
        keep_going=keep_going,
        build=build,
        refresh=refresh,
        ask_upstream=ask_upstream,
    )
    telling = Telling(json=json, quiet=quiet, skip_if_running=skip_if_running, on_change=on_change)
    run(execute(request, options, telling), json=json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What is said of a sync, to whom, and when nothing is."""

    json: bool
    quiet: bool
    skip_if_running: bool
    on_change: str | None


async def execute(request: Request, options: SyncOptions, telling: Telling) -> int:
    """Sync, tell of it, run the user's own command; 1 if not all is there."""
    quiet = QuietObserver() if telling.quiet else None
    shown = Noting(quiet or observer())
    try:
        synced, destination, is_for_others = await _sync(request, options, shown)
    except LockedError as error:
        if not telling.skip_if_running:
            raise
        if telling.json:
            print_document("skipped", {"skipped": error.message})
        write_error(f"skipped: {error.message}")
        return 0
    except PrefetchError:
        if quiet:
            quiet.release()
        raise
    if quiet and not synced.is_news:
        return 0
    if quiet:
        quiet.release()
    refused = refused_by_clients_lines(synced.vouching, destination) if is_for_others else ()
    return await _tell_of_sync(synced, destination, telling, shown, refused)


async def _tell_of_sync(
    synced: Synced,
    destination: str,
    telling: Telling,
    shown: Noting,
    refused: Iterable[str],
) -> int:
    """Say what was synced and what clients refuse, run the user's own command; the exit code."""
    if not telling.json:
        show(synced, destination)
        write_lines(refused)
    explain_failures(synced.failures)
    ran = OnChange()
    try:
        if telling.on_change:
            await run_on_change(telling.on_change, synced, destination, ran)
    finally:
        # What came of the command is in the document, also if it failed or was interrupted.
        if telling.json:
            members = document(synced, shown, destination)
            print_document("sync", {**members, "on_change": ran.document()})
    return 0 if synced.is_complete else 1


async def _sync(request: Request, options: SyncOptions, shown: Noting) -> tuple[Synced, str, bool]:
    """Sync, and give up the destination; what was done, its name, and whether it is for others."""
    targets = await read_targets(request)
    workshop = open_installed(request.workshop_options(), shown)
    signing_key = await read_key(request.signing_key) if request.signing_key else None
    async with open_destination(
        request.to, signing_key=signing_key, reads_contents=True
    ) as destination:
        synced = await make_ready(
            targets, workshop, destination, shown, options, lists=request.list_names
        )
        return synced, destination.name, destination.is_for_others
