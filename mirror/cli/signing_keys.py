"""Reading the signing key that an option names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import RequestError
from mirror.formats.signing import SecretKey
from mirror.system.plain_files import LARGEST_SECRET, read_given_file, reason

if TYPE_CHECKING:
    from pathlib import Path


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
