"""What each command does: read the request, call the pipeline, render what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json as json_module
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import aiofiles

from mirror.cli import documents, render
from mirror.cli.on_change import run_on_change
from mirror.cli.progress import QuietObserver, observer
from mirror.cli.running import explain, write_error, write_lines
from mirror.destinations import CacheDirectory, NixStore
from mirror.errors import (
    DestinationError,
    FormatError,
    LockedError,
    PrefetchError,
    RequestError,
)
from mirror.formats.signing import SecretKey
from mirror.formats.store_path import StorePath, is_store_path
from mirror.nix.command import Nix
from mirror.nix.stores import locate
from mirror.planning.export import closure_info_lines, dot_lines
from mirror.planning.list_file import decode_list, parse_list
from mirror.planning.targets import Level, Target
from mirror.shipped import shipped_edits
from mirror.sync import check as checking
from mirror.sync import export as exporting
from mirror.sync import rehearse as rehearsing
from mirror.sync import run as pipeline
from mirror.sync import why as explaining
from mirror.sync.freshness import rehearsals
from mirror.sync.records import failures_recorded
from mirror.sync.refresh import refreshed
from mirror.sync.workshop import WorkshopOptions, open_workshop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mirror.planning.plan import Plan
    from mirror.sync.report import Observer
    from mirror.sync.run import Synced

_NIX_STORE: Final = re.compile(r"(auto|daemon|local)(\?.*)?|(unix|local)://.*")
_OTHER_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://.*")
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(?:i?[bB])?(?:/s)?")
_FACTORS: Final = {"": 1, "k": 1000, "m": 1000_000, "g": 1000_000_000}
_DEFAULT_DIRECTORY: Final = Path("prefetch-cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a command was asked, as it was typed."""

    lists: tuple[Path, ...]
    to: str | None
    level: str | None = None
    store: str | None = None
    substituters: tuple[str, ...] | None = None
    trusted_keys: tuple[str, ...] | None = None
    builder: bool = True
    archives: bool = True
    limit_rate: str | None = None
    signing_key: Path | None = None


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
    options = _options(request)
    shown = observer()
    async with (
        open_destination(request.to, exclusive=False) as destination,
        open_workshop(await Nix.find(), options, shown) as workshop,
    ):
        planned = await pipeline.plan(targets, workshop, destination, shown)
    if json:
        print_json(documents.plan_document(planned.plan))
    else:
        _Show().plan(planned.plan)
    _explain_failures(planned.failures)
    return 1 if planned.failures or planned.plan.unobtainable else 0


async def sync(request: Request, manner: SyncManner) -> int:
    """``prefetch sync``."""
    targets = await read_lists(request)
    quiet = QuietObserver() if manner.quiet else None
    try:
        synced, destination = await _sync(targets, request, manner, quiet or observer())
    except LockedError as error:
        if not manner.skip_if_running:
            raise
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
    if manner.json:
        print_json(documents.sync_document(synced))
    else:
        _Show().synced(synced, destination)
    _explain_failures(synced.failures)
    if manner.on_change:
        await run_on_change(manner.on_change, synced, destination)
    return 0 if synced.is_complete else 1


async def _sync(
    targets: Sequence[Target], request: Request, manner: SyncManner, shown: Observer
) -> tuple[Synced, str]:
    """Sync, and give up the destination; what was done, and the destination's name."""
    options = _options(request)
    signing_key = read_key(request.signing_key) if request.signing_key else None
    async with (
        open_destination(request.to, signing_key=signing_key) as destination,
        failures_recorded(targets, destination),
        open_workshop(await Nix.find(), options, shown) as workshop,
        contextlib.AsyncExitStack() as stack,
    ):
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
        return synced, destination.name


async def check(request: Request, valid_paths: Path | None, *, json: bool) -> int:
    """``prefetch check``."""
    targets = await read_lists(request)
    nix = await Nix.find()
    shown = observer()
    if valid_paths is not None:
        valid = await _read_valid_paths(valid_paths)
        checked = await checking.check(
            targets, nix, shown, store=request.store, destination=None, valid_paths=valid
        )
    else:
        async with open_destination(request.to, exclusive=False) as destination:
            checked = await checking.check(
                targets, nix, shown, store=request.store, destination=destination
            )
    if json:
        print_json(documents.check_document(checked))
    else:
        _Show().checked(checked, _mending(request))
    return 0 if all(each.is_ready for each in checked) else 1


async def rehearse(request: Request, *, json: bool) -> int:
    """``prefetch rehearse``."""
    targets = await read_lists(request)
    nix = await Nix.find()
    async with open_destination(request.to, exclusive=False) as destination:
        rehearsed = await rehearsing.rehearse(
            targets, nix, observer(), destination, store=request.store
        )
    if json:
        print_json(documents.rehearsal_document(rehearsed))
    else:
        write_lines(render.rehearsal_lines(rehearsed))
    for each in rehearsed:
        if not each.has_passed and each.problem is not None:
            explain(each.problem, about=render.with_edit(each.target, each.edit))
    return 0 if all(each.has_passed for each in rehearsed) else 1


async def why(request: Request, name: str, path: str, *, every: bool, json: bool) -> int:
    """``prefetch why``."""
    target = await _named_target(request, name)
    async with open_destination(request.to, exclusive=False) as destination:
        reasons = await explaining.why(
            target,
            path,
            await Nix.find(),
            observer(),
            store=request.store,
            destination=destination,
        )
        place = destination.name
    if not every:
        reasons = [replace(each, ways=each.ways[:1]) for each in reasons[:1]]
    if json:
        print_json(documents.why_document(target, reasons))
    elif reasons:
        write_lines(line for each in reasons for line in render.why_lines(target, each, place))
    else:
        write_lines([f"nothing leads from {target.name} to {path}"])
    return 0 if reasons else 1


async def export(request: Request, *, form: Literal["closure-info", "paths", "dot"]) -> int:
    """``prefetch export``."""
    targets = await read_lists(request)
    shown = observer()
    async with open_workshop(await Nix.find(), _options(request), shown) as workshop:
        found = await exporting.export(targets, workshop, shown, named=form == "closure-info")
    if found.export.plan.targets:
        match form:
            case "closure-info":
                write_lines(closure_info_lines(found.export, found.names))
            case "paths":
                write_lines(found.export.references)
            case "dot":
                write_lines(dot_lines(found.export))
    _explain_failures(found.failures)
    unobtainable = found.export.plan.unobtainable
    for line in render.failure_lines((), found.export.plan):
        write_error(line)
    return 1 if found.failures or unobtainable else 0


async def roots(to: str | None, *, json: bool) -> int:
    """``prefetch roots``."""
    async with open_destination(to, exclusive=False) as destination:
        generations = await destination.generations()
        receipts = await destination.receipts()
        runs = await destination.run_records()
    known = await asyncio.to_thread(rehearsals, generations, receipts)
    if json:
        print_json(documents.generations_document(generations, known, runs))
    else:
        write_lines(render.generation_lines(generations, destination.name, known, runs))
    return 0


async def key_generate(name: str, file: Path) -> int:
    """``prefetch key generate``."""
    try:
        key = SecretKey.generate(name)
    except FormatError as error:
        raise RequestError(error.message, hint="a name such as HOST-1, without spaces") from error
    _write_key(file, key)
    write_lines([str(key.public)])
    return 0


async def demo(keep: Path | None) -> int:
    """``prefetch demo``."""
    from mirror.demo.story import tell  # noqa: PLC0415 - nothing else needs it

    await tell(keep, observer(), lambda text: write_lines([text]), _Show())
    return 0


async def read_lists(request: Request) -> list[Target]:
    """Read the lists; names are unique over all of them.

    Raises:
        RequestError: a list cannot be read, or a line of it.

    """
    targets: list[Target] = []
    for path in request.lists:
        try:
            async with aiofiles.open(path, "rb") as stream:
                data = await stream.read()
        except OSError as error:
            raise RequestError(
                f"the list {path} cannot be read: {error.strerror}",
                hint="a list is a text file of targets, one a line, such as: pi = .#pi",
            ) from error
        text = decode_list(data, str(path))
        targets += parse_list(
            text,
            file=str(path),
            directory=path.absolute().parent,
            shipped_edits=shipped_edits(),
        )
    if not targets:
        raise RequestError(
            f"no target in {', '.join(map(str, request.lists))}",
            hint="add a line such as: pi = .#pi",
        )
    names: set[str] = set()
    for target in targets:
        if target.name in names:
            raise RequestError(
                f"two lists have a target called {target.name}", hint="give one another name"
            )
        names.add(target.name)
    if request.level is None:
        return targets
    level = _read_level(request.level)
    return [replace(target, level=level) for target in targets]


async def _named_target(request: Request, name: str) -> Target:
    """Find the target that the lists have by this name; without lists, read it as one has it.

    Raises:
        RequestError: no list has it, or it cannot be read.

    """
    if not request.lists:
        (target,) = parse_list(
            f"target = {name}", file="TARGET", directory=Path.cwd(), shipped_edits=shipped_edits()
        )
        return replace(target, name=target.installable_text)
    targets = {each.name: each for each in await read_lists(request)}
    if name not in targets:
        lists = ", ".join(str(file) for file in request.lists)
        raise RequestError(
            f"{lists} has no target called {name}", hint=f"it has: {', '.join(targets)}"
        )
    return targets[name]


@contextlib.asynccontextmanager
async def open_destination(
    to: str | None, *, exclusive: bool = True, signing_key: SecretKey | None = None
) -> AsyncIterator[CacheDirectory | NixStore]:
    """Open what ``--to`` names; without it, this machine's store if it has Nix.

    Raises:
        RequestError: nothing that can be a destination is named so.
        DestinationError: it cannot be used.

    """
    if to is None and shutil.which("nix") is None:
        to = str(_DEFAULT_DIRECTORY)
    if to is None or _NIX_STORE.fullmatch(to):
        nix = await Nix.find()
        store = await locate(nix, to)
        async with NixStore.open(nix, store, exclusive=exclusive) as nix_store:
            yield nix_store
    elif _OTHER_URL.fullmatch(to) and not to.startswith("file://"):
        raise RequestError(
            f"not a destination: {to}",
            hint="give a directory for a binary cache, or a Nix store: daemon, local?root=DIR",
        )
    else:
        directory = Path(to.removeprefix("file://"))
        opened = CacheDirectory.open(directory, exclusive=exclusive, signing_key=signing_key)
        async with opened as cache_directory:
            yield cache_directory


async def _read_valid_paths(file: Path) -> frozenset[StorePath]:
    """Read store paths, one a line; other lines of a database dump are no paths, and skipped."""
    try:
        async with aiofiles.open(file, errors="replace") as stream:
            lines = [line.strip() for line in await stream.readlines()]
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {error.strerror}") from error
    paths = frozenset(StorePath.parse(line) for line in lines if is_store_path(line))
    if not paths:
        raise RequestError(
            f"{file} has no store path",
            hint="write it with: nix path-info --all, or nix-store --dump-db",
        )
    return paths


def _mending(request: Request) -> str:
    """The command that brings what is missing."""
    lists = " ".join(str(path) for path in request.lists)
    return f"prefetch sync {lists}" + (f" --to {request.to}" if request.to else "")


def _options(request: Request) -> WorkshopOptions:
    return WorkshopOptions(
        store=request.store,
        substituters=request.substituters,
        trusted_keys=request.trusted_keys,
        builder=request.builder,
        archives=request.archives,
        limit_rate=_read_rate(request.limit_rate) if request.limit_rate else None,
    )


def _read_level(text: str) -> Level:
    try:
        return Level[text.upper()]
    except KeyError:
        raise RequestError(
            f"unknown level {text!r}", hint=f"one of {', '.join(Level.names())}"
        ) from None


def _read_rate(text: str) -> int:
    found = _RATE.fullmatch(text.strip())
    rate = int(float(found[1]) * _FACTORS[found[2].lower()]) if found else 0
    if rate <= 0:
        raise RequestError(f"not a rate: {text!r}", hint="bytes a second, such as 500k or 2M")
    return rate


def read_key(file: Path) -> SecretKey:
    """Read a secret key.

    Raises:
        RequestError: it cannot be read, or is none.

    """
    try:
        return SecretKey.parse(file.read_text().strip())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RequestError(
            f"the signing key {file} cannot be used: {reason}",
            hint=f"`prefetch key generate NAME {file}` makes one",
        ) from error


def _write_key(file: Path, key: SecretKey) -> None:
    """Write a secret key to a new file, that only its owner can read."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise RequestError(
            f"{file} exists already, and a key that is lost cannot be made again",
            hint="give another file",
        ) from error
    except OSError as error:
        raise DestinationError(f"{file} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{key}\n")
    except OSError as error:
        file.unlink(missing_ok=True)
        raise DestinationError(f"{file} cannot be written: {error.strerror}") from error


class _Show:
    """Results as a person reads them: data on standard output, failures on standard error."""

    def plan(self, plan: Plan) -> None:
        write_lines(render.plan_lines(plan))

    def checked(self, checked: Sequence[checking.Checked], mending: str) -> None:
        write_lines(render.checked_lines(checked, mending))

    def synced(self, synced: Synced, destination: str) -> None:
        write_lines(render.synced_lines(synced, destination))
        for line in render.failure_lines(synced.outcomes, synced.plan):
            write_error(line)


def _explain_failures(failures: Sequence[tuple[Target, PrefetchError]]) -> None:
    for target, error in failures:
        explain(error, about=None if target.name in error.message else target.name)


def print_json(document: dict[str, Any]) -> None:
    """Print a document for programs."""
    write_lines([json_module.dumps(document, indent=2)])
