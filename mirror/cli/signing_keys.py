"""The signing key that an option names, and where signatures can be made with it."""

from __future__ import annotations

import contextlib
import shlex
import stat
from typing import TYPE_CHECKING

from mirror.cli.running import write_error
from mirror.errors import RequestError
from mirror.formats.signing import SecretKey
from mirror.system.plain_files import LARGEST_SECRET, read_given_file, reason

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.destinations import Destination
    from mirror.destinations.capabilities import Signing


async def read_key(file: Path) -> SecretKey:
    """Read a secret key; it may come by a pipe.

    Raises:
        RequestError: it cannot be read, or is none.

    """
    try:
        data = await read_given_file(file, at_most=LARGEST_SECRET)
        key = SecretKey.parse(data.decode().strip())
    except (OSError, ValueError) as error:
        raise RequestError(
            f"the signing key {file} cannot be used: {reason(error)}",
            hint=f"`prefetch key generate NAME {file}` makes one",
        ) from error
    if _is_public(file):
        write_error(
            f"every user of this machine may read the signing key {file}, and sign with it; "
            f"`{shlex.join(['chmod', '600', str(file)])}` ends that"
        )
    return key


def _is_public(file: Path) -> bool:
    """Whether others may read a file; a group may be meant to (systemd hands credentials so)."""
    with contextlib.suppress(OSError):
        mode = file.stat().st_mode
        return stat.S_ISREG(mode) and bool(mode & stat.S_IROTH)
    return False


def signing_at(
    destination: Destination,
    doing: str,
    *,
    of_store: str = "Nix keeps a store's signatures: they do no harm there",
) -> Signing:
    """The mirror's own signatures at a destination; ``of_store`` is what to do about a Nix store.

    Raises:
        RequestError: it has none.

    """
    signing = destination.signing
    if signing is None:
        is_store = destination.store is not None
        kind = "is a Nix store, which" if is_store else "is of a kind that"
        raise RequestError(
            f"cannot {doing} {destination.name}: it {kind} keeps no signatures of the mirror's own",
            hint=of_store if is_store else "name a cache directory",
        )
    return signing
