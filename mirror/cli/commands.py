"""What each command does: read the request, call the pipeline, render what comes back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from mirror import schemas
from mirror.cli import documents, render
from mirror.cli.clients_report import refused_lines
from mirror.cli.keys import read_key
from mirror.cli.on_change import OnChange, run_on_change
from mirror.cli.progress import Noting, QuietObserver, observer
from mirror.cli.request import (
    list_name,
    named_target,
    open_destination,
    read_lists,
    read_valid_paths,
)
from mirror.cli.running import (
    explain,
    print_document,
    write_as_is,
    write_error,
    write_lines,
)
from mirror.errors import (
    DestinationError,
    LockedError,
    PrefetchError,
    RequestError,
)
from mirror.nix.command import Nix
from mirror.planning.hermetic import closure_info_lines, dot_lines
from mirror.planning.refusals import failing
from mirror.sync import export as exporting
from mirror.sync import run as pipeline
from mirror.sync.kept.clients import vouching_of
from mirror.sync.kept.completeness import as_they_are
from mirror.sync.kept.freshness import rehearsals
from mirror.sync.kept.listing import mark_unlisted, unlisted
from mirror.sync.offline import check as checking
from mirror.sync.offline import rehearse as rehearsing
from mirror.sync.offline import why as explaining
from mirror.sync.records import failures_recorded
from mirror.sync.refresh.refresh import refreshed
from mirror.sync.refresh.unsettled import put_back_interrupted
from mirror.sync.workshop import open_workshop

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mirror.cli.request import Request
    from mirror.planning.lists.targets import Target
    from mirror.sync.report import Observer
    from mirror.sync.run import Synced


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncManner:
    """How ``sync`` is to go about it, and what it is to say."""

    jobs: int
    keep_going: bool
    build: bool
    refresh: bool
    ask_upstream: bool
    json: bool
    quiet: bool
    skip_if_running: bool
    on_change: str | None


async def plan(request: Request, *, json: bool) -> int:
    """``prefetch plan``."""
    targets = await read_lists(request)
    options = request.options()
    shown = Noting(observer())
    async with (
        open_destination(request.to, exclusive=False, reads_contents=True) as destination,
        open_workshop(await Nix.find(), options, shown) as workshop,
    ):
        planned = await pipeline.plan(targets, workshop, destination, shown)
    if json:
        members = documents.plan_document(planned.plan, planned.failures, shown, destination.name)
        print_document("plan", {**members, "room": documents.room(planned.need)})
    else:
        _Show().plan(planned)
    _explain_failures(planned.failures)
    plan = planned.plan
    return 1 if planned.failures or plan.unobtainable or failing(plan.refused) else 0


async def sync(request: Request, manner: SyncManner) -> int:
    """``prefetch sync``."""
    targets = await read_lists(request)
    quiet = QuietObserver() if manner.quiet else None
    shown = Noting(quiet or observer())
    try:
        synced, destination, is_for_others = await _sync(targets, request, manner, shown)
    except LockedError as error:
        if not manner.skip_if_running:
            raise
        if manner.json:
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
    refused = refused_lines(synced.vouching, destination) if is_for_others else ()
    return await _tell_of_sync(synced, destination, manner, shown, refused)


async def _tell_of_sync(
    synced: Synced,
    destination: str,
    manner: SyncManner,
    shown: Noting,
    refused: Iterable[str],
) -> int:
    """Say what was synced and what clients refuse, run the user's own command; the exit code."""
    if not manner.json:
        _Show().synced(synced, destination)
        write_lines(refused)
    _explain_failures(synced.failures)
    ran = OnChange()
    try:
        if manner.on_change:
            await run_on_change(manner.on_change, synced, destination, ran)
    finally:
        # What came of the command is in the document, also if it failed or was interrupted.
        if manner.json:
            members = documents.sync_document(synced, shown, destination)
            print_document("sync", {**members, "on_change": ran.document()})
    return 0 if synced.is_complete else 1


async def _sync(
    targets: Sequence[Target], request: Request, manner: SyncManner, shown: Observer
) -> tuple[Synced, str, bool]:
    """Sync, and give up the destination; what was done, its name, and whether it is for others."""
    options = request.options()
    signing_key = await read_key(request.signing_key) if request.signing_key else None
    async with (
        open_destination(request.to, signing_key=signing_key, reads_contents=True) as destination,
        failures_recorded(targets, destination),
        contextlib.AsyncExitStack() as stack,
    ):
        # What follows may fail of a network; the lists were read, and are right all the same.
        lists = [name for each in request.lists if (name := list_name(each)) is not None]
        newly = await mark_unlisted(targets, lists, destination)
        workshop = await stack.enter_async_context(open_workshop(await Nix.find(), options, shown))
        await put_back_interrupted(targets, workshop.nix, shown)
        anew = refreshed(targets, workshop, shown) if manner.refresh else None
        synced = await pipeline.sync(
            targets,
            workshop,
            destination,
            shown,
            jobs=manner.jobs,
            keep_going=manner.keep_going,
            build=manner.build,
            refreshed=await stack.enter_async_context(anew) if anew else None,
            ask=manner.ask_upstream,
        )
        return (
            replace(synced, unlisted=await unlisted(destination, newly)),
            destination.name,
            destination.is_for_others,
        )


async def check(request: Request, valid_paths: Path | None, *, json: bool) -> int:
    """``prefetch check``."""
    targets = await read_lists(request)
    nix = await Nix.find()
    shown = Noting(observer())
    if valid_paths is not None:
        valid = await read_valid_paths(valid_paths)
        checked = await checking.check(
            targets, nix, shown, store=request.store, destination=None, valid_paths=valid
        )
    else:
        async with open_destination(
            request.to, exclusive=False, reads_contents=True, remembers=True
        ) as destination:
            checked = await checking.check(
                targets, nix, shown, store=request.store, destination=destination
            )
    # A sync brings nothing into a store that is known by its list of paths alone.
    mending = request.mending if valid_paths is None else None
    if json:
        print_document("check", documents.check_document(checked, shown, mending))
    else:
        _Show().checked(checked, mending)
    # What is built for want of what was refused, nobody asked for.
    refused = any(failing(each.refused) for each in checked if each.built_for_refusals)
    return 0 if all(each.is_ready for each in checked) and not refused else 1


async def rehearse(request: Request, *, json: bool) -> int:
    """``prefetch rehearse``."""
    targets = await read_lists(request)
    nix = await Nix.find()
    shown = Noting(observer())
    async with open_destination(request.to, exclusive=False) as destination:
        rehearsed = await rehearsing.rehearse(targets, nix, shown, destination, store=request.store)
    if json:
        members = documents.rehearsal_document(rehearsed, shown, destination.name)
        print_document("rehearse", members)
    else:
        write_lines(render.rehearsal_lines(rehearsed))
    for each in rehearsed:
        if not each.has_passed and each.problem is not None:
            explain(each.problem, about=render.with_edit(each.target, each.edit))
    return 0 if all(each.has_passed for each in rehearsed) else 1


async def why(request: Request, name: str, path: str, *, every: bool, json: bool) -> int:
    """``prefetch why``."""
    target = await named_target(request, name)
    shown = Noting(observer())
    async with open_destination(request.to, exclusive=False) as destination:
        reasons = await explaining.why(
            target,
            path,
            await Nix.find(),
            shown,
            store=request.store,
            destination=destination,
        )
        place = destination.name
    if not every:
        reasons = [replace(each, ways=each.ways[:1]) for each in reasons[:1]]
    if json:
        members = documents.why_document(
            target, reasons, asked=path, noting=shown, destination=place
        )
        print_document("why", members)
    elif reasons:
        write_lines(line for each in reasons for line in render.why_lines(target, each, place))
    else:
        write_lines([f"nothing leads from {target.name} to {path}"])
    return 0 if reasons else 1


async def export(
    request: Request, *, form: Literal["closure-info", "paths", "dot"] | None, json: bool
) -> int:
    """``prefetch export``."""
    if json and form is not None:
        raise RequestError("export prints one form, and two are named", hint="--format or --json")
    targets = await read_lists(request)
    shown = Noting(observer())
    async with open_workshop(await Nix.find(), request.options(), shown) as workshop:
        found = await exporting.export(targets, workshop, shown, named=form == "closure-info")
    if json:
        members = documents.export_document(found.export, found.failures, shown)
        print_document("export", members)
    elif found.export.plan.targets:
        match form:
            case "closure-info":
                write_lines(closure_info_lines(found.export, found.names))
            case "paths" | None:
                write_lines(found.export.references)
            case "dot":
                write_lines(dot_lines(found.export))
    _explain_failures(found.failures)
    plan = found.export.plan
    for line in (
        *render.failure_lines((), plan),
        *render.refused_lines(plan, can_be_allowed=False),
    ):
        write_error(line)
    return 1 if found.failures or plan.unobtainable or plan.refused else 0


async def roots(to: str | None, *, json: bool) -> int:
    """``prefetch roots``."""
    async with open_destination(to, exclusive=False) as destination:
        generations = await as_they_are(await destination.generations(), destination)
        receipts = await destination.receipts()
        unreadable: list[DestinationError] = []
        runs = await destination.run_records(unreadable.append)
        vouching = await vouching_of(generations, destination, unreadable.append)
        is_for_others = destination.is_for_others
    for each in unreadable:
        write_error(f"passed over: {each.message}\n  {each.hint}")
    known = await asyncio.to_thread(rehearsals, generations, receipts)
    if json:
        members = documents.generations_document(
            generations,
            known,
            runs,
            vouching,
            unreadable=unreadable,
            destination=destination.name,
        )
        print_document("roots", members)
    else:
        write_lines(render.generation_lines(generations, destination.name, known, runs))
        if is_for_others:
            write_lines(refused_lines(vouching, destination.name))
    return 0


async def schema(name: str | None) -> int:
    """``prefetch schema``."""
    if name is None:
        write_lines(schemas.names())
        return 0
    try:
        text = schemas.schema_text(name)
    except KeyError:
        raise RequestError(
            f"no document is called {name}", hint=f"one of {', '.join(schemas.names())}"
        ) from None
    # A pattern may look like the query of a URL.
    write_as_is(text.splitlines())
    return 0


async def demo(keep: Path | None) -> int:
    """``prefetch demo``."""
    from mirror.demo.story import tell  # noqa: PLC0415 - nothing else needs it

    await tell(keep, observer(), lambda text: write_lines([text]), _Show())
    return 0


class _Show:
    """Results as a person reads them: data on standard output, failures on standard error."""

    def plan(self, planned: pipeline.Planned) -> None:
        write_lines(render.plan_lines(planned.plan, planned.need))

    def checked(self, checked: Sequence[checking.Checked], mending: str | None) -> None:
        write_lines(render.checked_lines(checked, mending))

    def synced(self, synced: Synced, destination: str) -> None:
        write_lines(render.synced_lines(synced, destination))
        for line in render.failure_lines(synced.outcomes, synced.plan):
            write_error(line)
        for line in render.refused_lines(synced.plan, synced.refused):
            write_error(line)


def _explain_failures(failures: Sequence[tuple[Target, PrefetchError]]) -> None:
    for target, error in failures:
        explain(error, about=None if target.name in error.message else target.name)
