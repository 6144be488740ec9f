"""Having the installed Nix make paths: substitute them or build them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mirror.errors import IntegrityError, SourceError
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation

_HASH_MISMATCH: Final = 102
"""What nix-store exits with when a fixed output was not what it should have been."""

_BATCH_BYTES: Final = 1 << 18
"""What the paths of one command line take at most: Linux allows 2 MiB, with the environment."""

_LINES_TOLD: Final = 20
_ANNOUNCED: Final = re.compile(
    r"(this|these) .*(built|fetched|copied).*:$|  /nix/store/\S+$|copying "
)
"""What Nix says it is about to do."""


async def realise(
    nix: Nix,
    paths: Sequence[StorePath],
    *,
    store: StoreLocation,
    options: Mapping[str, str],
) -> tuple[StorePath, ...]:
    """Make all outputs of the derivations, and the other paths, valid in ``store``.

    ``options`` are settings of Nix for this run, such as ``substituters`` or ``builders``. Gives
    the output paths in the order that Nix prints them. Very many are made in several parts, one
    after the other.

    Raises:
        IntegrityError: a fixed output was built and is not what it should be.
        SourceError: something could not be built or substituted; ends with its last words.
        ToolError: there is no ``nix-store``.

    """
    command = ["nix-store", "--realise", "--store", store.url]
    # Not as arguments: every user of the machine sees those, and caches may have passwords.
    lines = [f"{name} = {value}" for name, value in options.items()]
    environment = {"NIX_CONFIG": "\n".join((nix.environment.get("NIX_CONFIG", ""), *lines))}
    outputs: list[StorePath] = []
    for batch in _batches(paths):
        outputs += await _realise(nix, command, batch, environment)
    return tuple(outputs)


def _batches(paths: Sequence[StorePath]) -> Iterator[Sequence[StorePath]]:
    """Parts of ``paths`` in order, each short enough for a command line."""
    start = size = 0
    for end, path in enumerate(paths):
        size += len(path) + 1
        if size > _BATCH_BYTES:
            yield paths[start:end]
            start, size = end, len(path) + 1
    if paths:
        yield paths[start:]


async def _realise(
    nix: Nix, command: Sequence[str], paths: Sequence[StorePath], environment: Mapping[str, str]
) -> Sequence[StorePath]:
    completed = await nix.run([*command, *paths], environment=environment)
    if completed.returncode != 0:
        what = paths[0] if len(paths) == 1 else f"{len(paths)} paths ({paths[0]} and others)"
        kind = IntegrityError if completed.returncode == _HASH_MISMATCH else SourceError
        # Not from "error:" on: what a builder says comes before it.
        lines = (line for line in completed.stderr.splitlines() if not _ANNOUNCED.match(line))
        words = "\n".join(list(lines)[-_LINES_TOLD:])
        raise kind(f"Nix could not make {what}:\n{words}")
    return [StorePath.parse(line) for line in completed.stdout.decode().split()]
