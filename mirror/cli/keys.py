"""Keys: making one, showing its public half, reading one that an option names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mirror.cli.running import print_document, write_lines
from mirror.errors import DestinationError, FormatError, RequestError
from mirror.formats.signing import SecretKey
from mirror.system.plain_files import LARGEST_SECRET, read_given_file, reason

if TYPE_CHECKING:
    from pathlib import Path


async def key_generate(name: str, file: Path, *, json: bool = False) -> int:
    """``prefetch key generate``."""
    if "#" in name:
        raise RequestError(
            f"a key cannot be called {name!r}: nix.conf takes what follows a # for a comment",
            hint="a name such as HOST-1",
        )
    try:
        key = SecretKey.generate(name)
    except FormatError as error:
        raise RequestError(error.message, hint="a name such as HOST-1, without spaces") from error
    _write_key(file, key)
    _show(key, json=json)
    return 0


async def key_show(file: Path, *, json: bool = False) -> int:
    """``prefetch key show``."""
    _show(await read_key(file), json=json)
    return 0


def _show(key: SecretKey, *, json: bool) -> None:
    if json:
        print_document("key", {"name": key.public.name, "public_key": str(key.public)})
    else:
        write_lines([str(key.public)])


async def read_key(file: Path) -> SecretKey:
    """Read a secret key; it may come by a pipe.

    Raises:
        RequestError: it cannot be read, or is none.

    """
    try:
        data = await read_given_file(file, at_most=LARGEST_SECRET)
        return SecretKey.parse(data.decode().strip())
    except (OSError, ValueError) as error:
        raise RequestError(
            f"the signing key {file} cannot be used: {reason(error)}",
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
