"""Options that several commands have, as typer wants them."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from mirror.cli.default_lists import default_lists

TARGETS: Final = "Targets"
SOURCES: Final = "Sources"
OUTPUT: Final = "Output"
"""Groups of options; the others come first, without one."""

_LEVELS: Final = ("runtime", "rebuild", "sources", "full")


def _edits(incomplete: str) -> list[str]:
    """The shipped edits, behind those that are typed already."""
    from mirror.shipped import shipped_edits  # noqa: PLC0415 - start-up time

    before = incomplete.rpartition(",")[0]
    return [f"{before},{name}" if before else name for name in shipped_edits()]


Lists = Annotated[
    list[str],
    typer.Argument(
        metavar="LIST",
        default_factory=default_lists,
        envvar="PREFETCH_LIST",
        help="Lists of targets: text files with one target per line; a list called - is read from "
        "standard input. Or a target itself, such as .#laptop, or a flake's directory for all of "
        "its NixOS configurations. Default: ./hosts.txt, /etc/prefetch/hosts.txt, the hosts of "
        "./flake.nix, or this machine's own configuration in /etc/nixos.",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="Target of the lists to take, instead of all of them. Can be repeated.",
        rich_help_panel=TARGETS,
    ),
]
Edits = Annotated[
    str | None,
    typer.Option(
        "--edits",
        metavar="EDITS",
        help="Edits of the targets named on the command line, as in a list: hosts,wifi,./mine.nix.",
        autocompletion=_edits,
        rich_help_panel=TARGETS,
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="DEST",
        help="Destination: a directory (binary cache) or a Nix store (daemon, "
        "local?root=DIR). Default: this machine's Nix store, or ./prefetch-cache if "
        "Nix is not installed.",
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON document on standard output.", rich_help_panel=OUTPUT
    ),
]
Level = Annotated[
    str | None,
    typer.Option(
        "--level",
        metavar="LEVEL",
        autocompletion=lambda: list(_LEVELS),
        help="runtime, rebuild, sources or full, instead of the levels in the lists.",
        rich_help_panel=TARGETS,
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Nix store to evaluate in. Default: the store that Nix uses.",
        rich_help_panel=SOURCES,
    ),
]
Substituters = Annotated[
    list[str] | None,
    typer.Option(
        "--substituter",
        metavar="URL",
        help="Binary cache to use instead of Nix's substituters. Can be repeated.",
        rich_help_panel=SOURCES,
    ),
]
TrustedKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-key",
        metavar="KEY",
        help="Public key to trust instead of those that Nix trusts. Can be repeated.",
        rich_help_panel=SOURCES,
    ),
]
NoBuilder = Annotated[
    bool,
    typer.Option(
        "--no-builder",
        help="Never run a fetcher's builder; use caches and origins only.",
        rich_help_panel=SOURCES,
    ),
]

AllowRefused = Annotated[
    bool,
    typer.Option(
        "--allow-refused",
        help="Do not fail if paths in a cache are refused, for example because no "
        "trusted key signed them. They are built instead, and the refusal is "
        "reported and recorded.",
        rich_help_panel=SOURCES,
    ),
]

NoArchives = Annotated[
    bool,
    typer.Option(
        "--no-archives",
        help="Do not look up sources by hash in public archives (tarballs.nixos.org, "
        "Software Heritage).",
        rich_help_panel=SOURCES,
    ),
]
ReEvaluate = Annotated[
    bool,
    typer.Option(
        "--re-evaluate",
        help="Evaluate every target and edit again, also those of flakes that have not changed.",
    ),
]
Evaluators = Annotated[
    int | None,
    typer.Option(
        "--evaluators",
        metavar="N",
        min=1,
        max=512,
        help="Number of targets and edits to evaluate at the same time. Default: as many as there "
        "are processors, and 1 GiB of available memory for each.",
        show_default=False,
    ),
]
EvaluatorMemory = Annotated[
    str | None,
    typer.Option(
        "--evaluator-memory",
        metavar="SIZE",
        help="Memory that each evaluator may take, such as 2Gi. One that needs more is started "
        "again alone, without this limit, when the others have ended.",
    ),
]


def given(values: list[str] | None) -> tuple[str, ...] | None:
    """The values of an option that can be repeated; None where it was not given."""
    return tuple(values) if values else None
