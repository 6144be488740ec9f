"""Options that several commands have, as typer wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Lists = Annotated[
    list[Path],
    typer.Argument(
        metavar="LIST", help="Files that list targets, one a line; - is standard input."
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="DEST",
        help="A directory (binary cache) or a Nix store (daemon, local?root=DIR). "
        "Without it: this machine's Nix store, or ./prefetch-cache where there is no Nix.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Level = Annotated[
    str | None,
    typer.Option(
        "--level",
        metavar="LEVEL",
        help="runtime, rebuild, sources or full, instead of what the list says.",
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="The Nix store to evaluate in, instead of the one Nix uses by itself.",
    ),
]
Substituters = Annotated[
    list[str] | None,
    typer.Option(
        "--substituter",
        metavar="URL",
        help="A binary cache, instead of those Nix is set up with; can be repeated.",
    ),
]
TrustedKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-key",
        metavar="KEY",
        help="A public key, instead of those Nix is set up with; can be repeated.",
    ),
]
NoBuilder = Annotated[
    bool,
    typer.Option("--no-builder", help="Never run a fetcher's builder: caches and origins only."),
]

AllowRefused = Annotated[
    bool,
    typer.Option(
        "--allow-refused",
        help="Go on without what a cache has and is not believed, such as what a key signed that "
        "is not trusted: it is built instead. It is said and recorded, and no failure.",
    ),
]

NoArchives = Annotated[
    bool,
    typer.Option(
        "--no-archives",
        help="Do not ask public archives (tarballs.nixos.org, Software Heritage) by hash.",
    ),
]


def given(values: list[str] | None) -> tuple[str, ...] | None:
    """The values of an option that can be repeated; None where it was not given."""
    return tuple(values) if values else None
