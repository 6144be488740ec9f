"""``prefetch probe``: whether this machine uses a cache, and which setting is lacking."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mirror.cli.client_lines import ClientLines
from mirror.cli.client_outcomes import outcome_lines, outcome_members
from mirror.cli.options import Json, Store
from mirror.cli.progress import Noting, observer
from mirror.cli.request import Request, named_target
from mirror.cli.running import print_document, run, write_lines
from mirror.errors import RequestError
from mirror.formats.store_path import StorePath, is_store_path
from mirror.nix.command import Nix
from mirror.quantities import number
from mirror.sync.probe.probe import probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.planning.lists.targets import Target
    from mirror.sync.probe.probe import Probe


def command(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="The cache, such as http://laptop.lan:8080, or a directory with one.",
        ),
    ],
    installables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INSTALLABLE",
            help="What the machine would realise: a store path, a derivation, or a target as in "
            "a list, such as .#laptop.",
        ),
    ] = None,
    *,
    store: Store = None,
    json: Json = False,
) -> None:
    """Tell whether this machine uses a cache, and what it lacks.

    The cache is asked what it is and whose signatures its clients need, and Nix for the settings
    that count for this user, also with a daemon. For each INSTALLABLE it is said what would be
    copied and what built, now and with the settings that are lacking. Nothing is changed.
    """
    run(execute(url, tuple(installables or ()), store, json=json), json=json)


async def execute(url: str, installables: tuple[str, ...], store: str | None, *, json: bool) -> int:
    """Ask; 1 if the cache cannot be used, a setting is lacking, or something is not to be had."""
    shown = Noting(observer())
    named = [await _installable(each) for each in installables]
    probed = await probe(_cache_url(url), named, await Nix.find(), shown, store=store)
    if json:
        print_document("probe", _document(probed, shown))
    else:
        write_lines(_lines(probed))
    return 0 if probed.is_enough else 1


async def _installable(text: str) -> Target | StorePath:
    """A path of the store, also as Nix names the outputs of a derivation, or a target.

    Raises:
        RequestError: it is neither.

    """
    path = text.removesuffix("^*").removesuffix("!*")
    if is_store_path(path):
        return StorePath.parse(path)
    return await named_target(Request(lists=(), to=None), text)


def _cache_url(text: str) -> str:
    """The URL of a cache, which may be named as a directory.

    Raises:
        RequestError: there is no such directory.

    """
    if "://" in text:
        return text
    try:
        # Without a "..", which would make it another name than the one in the settings.
        directory = Path(os.path.abspath(text))  # noqa: PTH100 - links are to stay as named
        is_there = directory.is_dir()
        uri = directory.as_uri()
    except (OSError, ValueError) as error:
        raise RequestError(f"{text} cannot be a directory: {error}") from error
    if not text or not is_there:
        raise RequestError(
            f"there is no directory {text or '(an empty name)'}",
            hint="name a cache by its URL: http://…, https://… or file:///some/directory",
        )
    return uri


def _lines(probed: Probe) -> Iterator[str]:
    """``probe``: what the cache is, whether it is used, who is trusted, what to add where."""
    cache = probed.reached.cache
    if cache is None:
        yield f"{probed.url}: cannot be used: {probed.reached.problem}"
    else:
        yield (
            f"{probed.url}: a binary cache, priority {cache.priority}, "
            f"{'wants' if cache.wants_mass_queries else 'does not want'} mass queries"
        )
    yield _use(probed)
    yield from _keys(probed)
    yield from ClientLines.of(probed).text()
    yield from (f"not asked: {problem}" for problem in probed.absent.values())
    yield from outcome_lines(probed.outcomes)


def _use(probed: Probe) -> str:
    """Whether Nix asks it."""
    settings, name = probed.settings, probed.nix.full_name
    place = settings.place_of(probed.url)
    if not settings.substitute:
        return f"{name} uses no cache at all: its setting `substitute` is false"
    if place is not None:
        return f"{name} uses it: number {place} of {number(len(settings.substituters), 'cache')}"
    if probed.lacking.is_ignored:
        return (
            f"{name} does not use it: {probed.access.user} names it, and is not one of the "
            "daemon's trusted-users"
        )
    others = ", ".join(settings.substituters) or "none"
    return f"{name} does not use it; its substituters are: {others}"


def _keys(probed: Probe) -> Iterator[str]:
    """Whose signatures count."""
    reached, lacking = probed.reached, probed.lacking
    if reached.cache is None:
        return
    if not probed.settings.needs_signatures(probed.url):
        yield "no signature is needed"
        return
    told = [each.partition(":")[0] for each in reached.keys or ()] or reached.signers
    if told:
        wanting = {*(each.partition(":")[0] for each in lacking.keys), *lacking.signers}
        words = [
            f"{each} ("
            + (
                "trusted"
                if each not in wanting
                else "another key of this name is trusted"
                if each in lacking.outdated
                else "not trusted"
            )
            + ")"
            for each in told
        ]
        yield f"what it serves is signed by {', '.join(words)}"
    elif reached.keys is None:
        yield "it does not say whose signatures its clients need"


def _document(probed: Probe, noting: Noting) -> dict[str, Any]:
    """``probe --json``."""
    reached, settings, lacking = probed.reached, probed.settings, probed.lacking
    cache, access, lines = reached.cache, probed.access, ClientLines.of(probed)
    return {
        "url": probed.url,
        "used": probed.is_used,
        "cache": {
            "usable": cache is not None,
            "away": reached.is_away,
            "problem": reached.problem,
            "priority": None if cache is None else cache.priority,
            "wants_mass_queries": None if cache is None else cache.wants_mass_queries,
            "keys": reached.keys,
            "signers": reached.signers,
        },
        "nix": {
            "version": probed.nix.version_text,
            "store": access.store.url,
            "daemon": access.has_daemon,
            "user": access.user,
            "trusted": access.is_trusted,
        },
        "settings": {
            "substituters": settings.substituters,
            "trusted_public_keys": settings.keys,
            "require_sigs": settings.require_sigs,
            "substitute": settings.substitute,
            "ignored": settings.ignored,
            "place": settings.place_of(probed.url),
        },
        "lacking": {
            "substituter": lacking.substituter,
            "keys": lacking.keys,
            "signers": lacking.signers,
            "outdated": lacking.outdated,
            "substitute": lacking.substitute,
            "file": str(lines.file),
            "lines": lines.nix_conf,
            "nixos": lines.nixos,
            "trusted_users": lines.trusted_users,
            "then": lines.afterwards,
        },
        "absent": list(probed.absent.values()),
        "installables": outcome_members(probed.outcomes),
        "notices": noting.notices,
    }
