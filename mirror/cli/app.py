"""The commands and their options. What each does is in the modules beside this one.

Only what parsing needs is imported here, so that ``prefetch --help`` answers at once.
"""

from __future__ import annotations

import enum
import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated, Final, cast

import typer

from mirror.cli import INTERRUPTED
from mirror.cli.options import (
    AllowRefused,
    Json,
    Level,
    Lists,
    NoArchives,
    NoBuilder,
    Store,
    Substituters,
    To,
    TrustedKeys,
    given,
)
from mirror.cli.running import print_error_document, run

_UsageError: Final = cast("type[typer.BadParameter]", typer.BadParameter.__base__)
"""What typer raises for options that cannot be understood; it has no public name for it."""

app = typer.Typer(
    name="prefetch",
    help="Know, and prove, that a host can be rebuilt offline: "
    "fetch exactly what its rebuild needs, and keep it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
key_app = typer.Typer(
    help="Make keys that sign what is made here, and show them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(key_app, name="key")


class ExportForm(enum.Enum):
    """What ``export`` prints."""

    CLOSURE_INFO = "closure-info"
    PATHS = "paths"
    DOT = "dot"


@app.callback(invoke_without_command=True)
def program(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Handle what stands before a command."""
    if version:
        from importlib.metadata import version as version_of  # noqa: PLC0415 - start-up time

        typer.echo(f"prefetch {version_of('prefetch')}")
        raise typer.Exit


@app.command()
def plan(
    lists: Lists,
    *,
    to: To = None,
    level: Level = None,
    store: Store = None,
    substituter: Substituters = None,
    trusted_key: TrustedKeys = None,
    no_builder: NoBuilder = False,
    no_archives: NoArchives = False,
    allow_refused: AllowRefused = False,
    json: Json = False,
) -> None:
    """Say what would be fetched, from where and how big; write nothing."""
    from mirror.cli import commands  # noqa: PLC0415 - start-up time
    from mirror.cli.request import Request  # noqa: PLC0415 - start-up time

    request = Request(
        lists=tuple(lists),
        to=to,
        level=level,
        store=store,
        substituters=given(substituter),
        trusted_keys=given(trusted_key),
        builder=not no_builder,
        archives=not no_archives,
        allow_refused=allow_refused,
    )
    run(commands.plan(request, json=json), json=json)


@app.command()
def sync(
    lists: Lists,
    *,
    to: To = None,
    level: Level = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, max=512, help="Paths obtained at once.")
    ] = 16,
    limit_rate: Annotated[
        str | None,
        typer.Option("--limit-rate", metavar="RATE", help="Bytes a second at most: 500k, 2M."),
    ] = None,
    build: Annotated[
        bool, typer.Option("--build", help="Also build what no cache has, and keep the outputs.")
    ] = False,
    signing_key: Annotated[
        Path | None,
        typer.Option(
            "--signing-key",
            metavar="FILE",
            help="Sign what is made here with this secret key (see: prefetch key generate).",
        ),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on after a path that cannot be obtained.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan only, as `prefetch plan` does.")
    ] = False,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="First update the lock files of flakes in directories, the channels, and what "
            "Nix has of other places; put back where that cannot be made ready.",
        ),
    ] = False,
    ask_upstream: Annotated[
        bool,
        typer.Option(
            "--ask-upstream",
            help="Ask caches and origins whether they still have what is kept, and say once "
            "of what this is the only copy.",
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Print nothing at all if nothing is new and all is there."
        ),
    ] = False,
    skip_if_running: Annotated[
        bool,
        typer.Option(
            "--skip-if-running",
            help="If another run holds the destination, say so and exit with 0.",
        ),
    ] = False,
    on_change: Annotated[
        str | None,
        typer.Option(
            "--on-change",
            metavar="COMMAND",
            help="Run this by the shell if something new was kept, with PREFETCH_DESTINATION, "
            "PREFETCH_TARGETS and PREFETCH_RESULT (complete or incomplete) set. It may take as "
            "long as it likes: `timeout 5m …` bounds it.",
        ),
    ] = None,
    store: Store = None,
    substituter: Substituters = None,
    trusted_key: TrustedKeys = None,
    no_builder: NoBuilder = False,
    no_archives: NoArchives = False,
    allow_refused: AllowRefused = False,
    json: Json = False,
) -> None:
    """Fetch what the targets of the lists need, verify it and keep it."""
    from mirror.cli import commands  # noqa: PLC0415 - start-up time
    from mirror.cli.request import Request  # noqa: PLC0415 - start-up time

    request = Request(
        lists=tuple(lists),
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
    )
    if dry_run:
        run(commands.plan(request, json=json), json=json)
    manner = commands.SyncManner(
        jobs=jobs,
        keep_going=keep_going,
        build=build,
        refresh=refresh,
        ask_upstream=ask_upstream,
        json=json,
        quiet=quiet,
        skip_if_running=skip_if_running,
        on_change=on_change,
    )
    run(commands.sync(request, manner), json=json)


@app.command()
def check(
    lists: Lists,
    *,
    to: To = None,
    store: Store = None,
    valid_paths: Annotated[
        Path | None,
        typer.Option(
            "--valid-paths",
            metavar="FILE",
            help="Ask about a store that has these paths: one a line, or `nix-store --dump-db`.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Say whether each target can be rebuilt with no network now, touching none itself."""
    from mirror.cli import commands  # noqa: PLC0415 - start-up time
    from mirror.cli.request import Request  # noqa: PLC0415 - start-up time

    request = Request(lists=tuple(lists), to=to, store=store)
    run(commands.check(request, valid_paths, json=json), json=json)


@app.command()
def rehearse(lists: Lists, *, to: To = None, store: Store = None, json: Json = False) -> None:
    """Evaluate and build each target from what was kept alone, with real Nix and no network."""
    from mirror.cli import commands  # noqa: PLC0415 - start-up time
    from mirror.cli.request import Request  # noqa: PLC0415 - start-up time

    run(commands.rehearse(Request(lists=tuple(lists), to=to, store=store), json=json), json=json)


@app.command()
def why(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A target, as in a list: .#laptop; with --list, its name there."
        ),
    ],
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A store path, its name, or a package's name.")
    ],
    *,
    list_file: Annotated[
        Path | None,
        typer.Option(
            "--list",
            metavar="LIST",
            help="The list that TARGET is on, with its level and its edits.",
        ),
    ] = None,
    to: To = None,
    store: Store = None,
    every: Annotated[bool, typer.Option("--all", help="Each way to it, not the shortest.")] = False,
    json: Json = False,
) -> None:
    """Show the shortest chain from a target to a path, what asked for it, and its size."""
    from mirror.cli import commands  # noqa: PLC0415 - start-up time
    from mirror.cli.request import Request  # noqa: PLC0415 - start-up time

    lists = () if list_file is None else (list_file,)
    request = Request(lists=lists, to=to, store=store)
    run(commands.why(request, target, path, every=every, json=json), json=json)


@app.command()
def export(
    lists: Lists,
    *,
    form: Annotated[
        ExportForm | None,
        typer.Option(
            "--format",
            help="closure-info: a Nix expression of the root paths, for rootPaths of closureInfo; "
            "paths (where nothing is named): all store paths, one a line; dot: the graph, for "
            "Graphviz.",
            show_default=False,
        ),
    ] = None,
    level: Level = None,
    store: Store = None,
    substituter: Substituters = None,
    trusted_key: TrustedKeys = None,
    no_builder: NoBuilder = False,
    no_archives: NoArchives = False,
    json: Json = False,
) -> None:
    """Print what a hermetic test must hold, so that the targets can be rebuilt in it."""
    from mirror.cli import commands  # noqa: PLC0415 - start-up time
    from mirror.cli.request import Request  # noqa: PLC0415 - start-up time

    request = Request(
        lists=tuple(lists),
        to=None,
        level=level,
        store=store,
        substituters=given(substituter),
        trusted_keys=given(trusted_key),
        builder=not no_builder,
        archives=not no_archives,
    )
    run(commands.export(request, form=form and form.value, json=json), json=json)


@app.command()
def roots(*, to: To = None, json: Json = False) -> None:
    """List what is kept: for which target, since when, how big."""
    from mirror.cli import commands  # noqa: PLC0415 - start-up time

    run(commands.roots(to, json=json), json=json)


@app.command()
def serve(
    directory: Annotated[
        str | None,
        typer.Argument(metavar="DIR", help="A cache directory, or a Nix store by its URL."),
    ] = None,
    *,
    store: Annotated[
        bool, typer.Option("--store", help="Serve this machine's Nix store instead.")
    ] = False,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Where to listen, instead of 127.0.0.1:8080; can be repeated. :8080 is every "
            "interface.",
        ),
    ] = None,
    priority: Annotated[
        int,
        typer.Option(
            "--priority",
            min=0,
            help="Its place among a client's caches: the lowest is asked first.",
        ),
    ] = 30,
    signing_key: Annotated[
        Path | None,
        typer.Option(
            "--signing-key", metavar="FILE", help="Sign what a served Nix store has with this key."
        ),
    ] = None,
    all_paths: Annotated[
        bool,
        typer.Option(
            "--all-paths",
            help="Give any path of a served Nix store to whoever asks, not only what is kept.",
        ),
    ] = False,
) -> None:
    """Serve a cache to the network: narinfos and NARs, sources by hash, flake inputs, a page."""
    from mirror.cli import serving  # noqa: PLC0415 - start-up time

    run(
        serving.serve(
            directory,
            store=store,
            listen_at=listen or (),
            priority=priority,
            signing_key=signing_key,
            all_paths=all_paths,
        )
    )


@app.command()
def verify(
    directory: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR",
            help="A cache directory, or a Nix store by its URL: what --to names otherwise.",
            show_default=False,
        ),
    ] = None,
    *,
    to: To = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            max=512,
            help="Files read at once, instead of one a core.",
            show_default=False,
        ),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Fetch again what is damaged, from who still has it.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing at all if all is well.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="URL",
            help="The Nix store that a repair asks last, instead of the one Nix uses by itself.",
        ),
    ] = None,
    substituter: Substituters = None,
    trusted_key: TrustedKeys = None,
    no_archives: NoArchives = False,
    json: Json = False,
) -> None:
    """Read everything that is kept again, and say what is not as it was written."""
    from mirror.cli import verifying  # noqa: PLC0415 - start-up time
    from mirror.cli.request import Request  # noqa: PLC0415 - start-up time

    request = Request(
        lists=(),
        to=to,
        store=store,
        substituters=given(substituter),
        trusted_keys=given(trusted_key),
        builder=False,
        archives=not no_archives,
    )
    run(
        verifying.verify(request, directory, jobs=jobs, repair=repair, quiet=quiet, json=json),
        json=json,
    )


@app.command()
def prune(
    lists: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="LIST",
            help="Lists of targets: only these are pruned, and others that are kept are named.",
            show_default=False,
        ),
    ] = None,
    *,
    to: To = None,
    keep: Annotated[
        int,
        typer.Option(
            "--keep",
            metavar="N",
            min=1,
            help="Keep the newest N complete generations of each target.",
        ),
    ] = 3,
    keep_within: Annotated[
        str | None,
        typer.Option(
            "--keep-within",
            metavar="AGE",
            help="And all that are not older: 12h, 30d, 8w.",
        ),
    ] = None,
    removed: Annotated[
        bool,
        typer.Option(
            "--removed", help="Drop all generations of targets that are on none of the lists."
        ),
    ] = False,
    grace: Annotated[
        str,
        typer.Option(
            "--grace",
            metavar="AGE",
            help="How long a server goes on answering what is dropped from a directory.",
        ),
    ] = "1h",
    served: Annotated[
        bool,
        typer.Option(
            "--served",
            help="Heed --grace although no prefetch serve was seen: a web server serves it.",
        ),
    ] = False,
    old_signatures: Annotated[
        bool,
        typer.Option(
            "--old-signatures",
            help="Also remove the signatures of all but the newest key that signed here.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go; change nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Drop old generations and, in a cache directory, what nothing needs any more."""
    from mirror.cli import upkeep  # noqa: PLC0415 - start-up time

    request = upkeep.PruneRequest(
        lists=tuple(lists or ()),
        to=to,
        keep=keep,
        keep_within=keep_within,
        removed=removed,
        grace=grace,
        served=served,
        old_signatures=old_signatures,
        dry_run=dry_run,
    )
    run(upkeep.prune(request, json=json), json=json)


@app.command()
def sign(
    *,
    to: To = None,
    signing_key: Annotated[
        Path,
        typer.Option(
            "--signing-key",
            metavar="FILE",
            help="The secret key to sign with (see: prefetch key generate).",
        ),
    ],
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="Also what has signatures of earlier keys only; these are kept."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be signed; change nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Sign what was made here and has no signature, in a cache directory."""
    from mirror.cli import upkeep  # noqa: PLC0415 - start-up time

    run(upkeep.sign(to, signing_key, every=every, dry_run=dry_run, json=json), json=json)


@key_app.command("generate")
def key_generate(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The key's name, by custom HOST-1 or DOMAIN-1.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write the secret key; must not exist.")
    ],
    *,
    json: Json = False,
) -> None:
    """Make a key pair: the secret to FILE, the public one is printed."""
    from mirror.cli import keys  # noqa: PLC0415 - start-up time

    run(keys.key_generate(name, file, json=json), json=json)


@key_app.command("show")
def key_show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A secret key.")],
    *,
    json: Json = False,
) -> None:
    """Print the public key of a secret one."""
    from mirror.cli import keys  # noqa: PLC0415 - start-up time

    run(keys.key_show(file, json=json), json=json)


@app.command()
def demo(
    *,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Leave the demo's files in this directory."),
    ] = None,
) -> None:
    """Show the whole job on this machine, without the internet."""
    from mirror.cli import commands  # noqa: PLC0415 - start-up time

    run(commands.demo(keep))


@app.command()
def schema(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="A document; without it, all are listed.", show_default=False
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of a document that --json, or a server, gives."""
    from mirror.cli import commands  # noqa: PLC0415 - start-up time

    run(commands.schema(name))


_PROGRAM: Final = typer.main.get_command(app)


def main() -> None:
    """Run the program; with --json, options that cannot be understood are a document, too."""
    try:
        code = _PROGRAM(standalone_mode=False)
    except _UsageError as error:
        error.show()
        code = error.exit_code
        if "--json" in sys.argv:
            print_error_document(error.format_message(), None, code)
    except typer.Abort:
        code = INTERRUPTED
    sys.exit(code)
