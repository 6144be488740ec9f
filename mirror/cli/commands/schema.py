"""``prefetch schema``: the JSON Schemas of documents."""

from __future__ import annotations

from typing import Annotated

import typer

from mirror import schemas
from mirror.cli.running import run, write_as_is, write_lines
from mirror.errors import RequestError


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Document to describe. Without it, the names of all documents are printed.",
            show_default=False,
            autocompletion=schemas.names,
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of a document.

    Documents are what commands print with --json, and what a server provides as
    /status.json.
    """
    run(execute(name))


async def execute(name: str | None) -> int:
    """Print a schema, or the names of all."""
    if name is None:
        write_lines(schemas.names())
        return 0
    try:
        text = schemas.schema_text(name)
    except KeyError:
        raise RequestError(
            f"no document is called {name}", hint=f"there are: {', '.join(schemas.names())}"
        ) from None
    # A pattern may look like the query of a URL.
    write_as_is(text.splitlines())
    return 0
