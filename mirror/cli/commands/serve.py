"""``prefetch serve``: open what is to be served, listen, and stop when told to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mirror.cli.running import run, write_error
from mirror.cli.signing_keys import read_key
from mirror.destinations.registry import open_destination
from mirror.errors import RequestError
from mirror.nix.command import Nix
from mirror.serve.http.application import Application
from mirror.serve.http.server import DEFAULT_PORT, Address, listen
from mirror.serve.http.systemd import inherited_sockets, notify
from mirror.serve.library.cache_library import CacheLibrary
from mirror.serve.library.store_library import StoreLibrary
from mirror.serve.status.metrics import Counters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mirror.formats.signing import SecretKey
    from mirror.serve.library.library import Library

_LOOPBACK: Final = Address("127.0.0.1", DEFAULT_PORT)


def command(
    directory: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR", help="Cache directory, or the URL of a Nix store, instead of --to."
        ),
    ] = None,
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="DEST", help="The same as DIR, which comes first."),
    ] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Serve this machine's Nix store instead.")
    ] = False,
    listen_at: Annotated[
        list[str] | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Address to listen on, instead of 127.0.0.1:8080. Can be repeated. :8080 "
            "means every interface.",
        ),
    ] = None,
    priority: Annotated[
        int,
        typer.Option(
            "--priority",
            metavar="N",
            min=0,
            help="Priority among a client's caches; the cache with the lowest number is "
            "asked first.",
        ),
    ] = 30,
    title: Annotated[
        str | None,
        typer.Option(
            "--title",
            metavar="TEXT",
            help="Title of the status page, instead of the name of what is served.",
        ),
    ] = None,
    signing_key: Annotated[
        Path | None,
        typer.Option(
            "--signing-key",
            metavar="FILE",
            help="Sign the paths of a served Nix store with this key.",
        ),
    ] = None,
    all_paths: Annotated[
        bool,
        typer.Option(
            "--all-paths",
            help="Serve every path of a Nix store, not only those that are kept.",
        ),
    ] = False,
) -> None:
    """Serve a cache directory or a Nix store over HTTP.

    Clients get a read-only binary cache, sources by hash (/sha256/…), flake inputs, and a status
    page with the settings that they need. Private paths are not served. SIGTERM or Ctrl-C stops the
    server after the transfers in progress.
    """
    run(
        execute(
            directory or (None if store else to),
            store=store,
            listen_at=listen_at or (),
            priority=priority,
            title=title,
            signing_key=signing_key,
            all_paths=all_paths,
        )
    )


async def execute(
    served: str | None,
    *,
    store: bool,
    listen_at: Sequence[str],
    priority: int,
    signing_key: Path | None,
    title: str | None = None,
    all_paths: bool = False,
) -> int:
    """Serve until told to stop."""
    if store == (served is not None):
        raise RequestError(
            "serve takes either DIR or --store",
            hint="prefetch serve DIR, or prefetch serve --store for this machine's Nix store",
        )
    addresses = [Address.parse(each) for each in listen_at]
    key = await read_key(signing_key) if signing_key else None
    sockets = inherited_sockets(os.environ)
    if not addresses and not sockets:
        addresses = [_LOOPBACK]
    async with _library(served, key, all_paths=all_paths) as library:
        counters, log = Counters(), write_error
        application = Application(
            library, priority=priority, counters=counters, log=log, title=title
        )
        listening = listen(application, counters, addresses=addresses, sockets=sockets, log=log)
        async with listening as server:
            write_error(f"serving {library.destination.name} at {', '.join(server.urls)}")
            if addresses == [_LOOPBACK]:
                write_error(
                    "only this machine can reach it; --listen :8080 lets the network reach it"
                )
            notify(os.environ, "READY=1")
            await _told_to_stop()
            notify(os.environ, "STOPPING=1")
            write_error("stopping: finishing the requests in progress")
            await server.stop()
    return 0


@contextlib.asynccontextmanager
async def _library(
    served: str | None, key: SecretKey | None, *, all_paths: bool
) -> AsyncIterator[Library]:
    if served is None:
        # Without Nix there is no store of this machine, and nothing else was asked for.
        await Nix.find()
    async with open_destination(served, must_exist=True, exclusive=False) as destination:
        if destination.directory is not None:
            if key is not None:
                raise RequestError(
                    "--signing-key is for Nix stores; a cache directory has its signatures already",
                    hint="`prefetch sync --signing-key` and `prefetch sign` sign in it",
                )
            if all_paths:
                raise RequestError(
                    "--all-paths is for Nix stores: a cache directory has only paths that are kept",
                    hint="`public=` in a list lets clients have more of what is kept",
                )
            async with CacheLibrary.open(destination, destination.directory) as library:
                yield library
        elif destination.store is not None:
            nix = await Nix.find()
            opened = StoreLibrary.open(
                destination, destination.store, nix, signing_key=key, all_paths=all_paths
            )
            async with opened as of_store:
                yield of_store
        else:
            raise RequestError(
                f"{destination.name} cannot be served from here",
                hint="cache directories and Nix stores can be",
            )


async def _told_to_stop() -> None:
    """Wait for SIGTERM or Ctrl-C; the second one ends the program at once."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
