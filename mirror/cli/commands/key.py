"""``prefetch key``: keys that sign what is made here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from mirror.cli.options import Json
from mirror.cli.running import print_document, run, write_lines
from mirror.cli.signing_keys import read_key
from mirror.errors import DestinationError, FormatError, RequestError
from mirror.formats.signing import SecretKey


def generate(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name of the key, by convention HOST-1 or DOMAIN-1."),
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="New file for the secret key; it must not exist.")
    ],
    *,
    json: Json = False,
) -> None:
    """Generate a key pair.

    The secret key is written to FILE, readable by its owner only, and the public key is printed.
    """
    run(execute_generate(name, file, json=json), json=json)


def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of the secret key.")],
    *,
    json: Json = False,
) -> None:
    """Print the public key that belongs to a secret key."""
    run(execute_show(file, json=json), json=json)


COMMANDS: Final = {"generate": generate, "show": show}
"""What ``prefetch key`` is followed by."""


async def execute_generate(name: str, file: Path, *, json: bool = False) -> int:
    """Make a key pair, and show its public half."""
    if "#" in name:
        raise RequestError(
            f"a key cannot be called {name!r}: # begins a comment in nix.conf",
            hint="use a name such as HOST-1",
        )
    try:
        key = SecretKey.generate(name)
    except FormatError as error:
        raise RequestError(
            error.message, hint="use a name such as HOST-1, without spaces"
        ) from error
    _write_key(file, key)
    _show(key, json=json)
    return 0


async def execute_show(file: Path, *, json: bool = False) -> int:
    """Show the public half of a key pair."""
    _show(await read_key(file), json=json)
    return 0


def _show(key: SecretKey, *, json: bool) -> None:
    if json:
        print_document("key", {"name": key.public.name, "public_key": str(key.public)})
    else:
        write_lines([str(key.public)])


def _write_key(file: Path, key: SecretKey) -> None:
    """Write a secret key to a new file, that only its owner can read."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise RequestError(
            f"{file} already exists, and is not overwritten: a lost key cannot be restored",
            hint="name another file",
        ) from error
    except OSError as error:
        raise DestinationError(f"{file} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{key}\n")
    except OSError as error:
        file.unlink(missing_ok=True)
        raise DestinationError(f"{file} cannot be written: {error.strerror}") from error
