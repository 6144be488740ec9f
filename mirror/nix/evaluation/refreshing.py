"""Having Nix update the inputs of evaluation: flake inputs, channels, tarballs.

What is only fetched again stays in Nix's own caches, where later evaluations of the run find it, so
that the whole run sees the same. A lock file and the channels are changed permanently: the caller
has to be able to restore them.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.errors import EvaluationError
from mirror.nix.evaluation.file_inputs import search_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation

_FLAKE_IS_AN_OPTION: Final = (2, 19, 0)
"""From here on what ``nix flake update`` takes are names of inputs."""

_ANEW: Final = ("--option", "tarball-ttl", "0")
_CHANNELS: Final = frozenset({"channels", "channels_root"})
"""What the links to the profile of channels are called, in a profile and in a home directory."""


async def update_lock_file(nix: Nix, flake: str, *, store: StoreLocation) -> None:
    """Lock all inputs of a flake in a directory of this machine to what is newest.

    Raises:
        EvaluationError: an input cannot be had; the lock file may have been written.
        ToolError: Nix cannot be used.

    """
    named = ["--flake", flake] if nix.version >= _FLAKE_IS_AN_OPTION else [flake]
    command = ["nix", "flake", "update", "--store", store.url, *_ANEW, *named]
    await _succeed(nix, command, f"the inputs of the flake {flake} cannot be updated")


async def refetch_flake(nix: Nix, flake: str, *, store: StoreLocation) -> None:
    """Fetch a remote flake again, and the registry that may say where it is.

    Raises:
        EvaluationError: it cannot be had.
        ToolError: Nix cannot be used.

    """
    command = ["nix", "flake", "metadata", "--json", "--no-write-lock-file", "--refresh"]
    await _succeed(
        nix, [*command, "--store", store.url, flake], f"the flake {flake} cannot be fetched"
    )


async def refetch_search_path(nix: Nix, *, store: StoreLocation) -> tuple[str, ...]:
    """Fetch again what Nix's search path names by URL (``nixpkgs=https://…``); returns those.

    Raises:
        EvaluationError: one cannot be had.
        ToolError: Nix cannot be used.

    """
    names = [
        prefix for prefix, where in await search_path(nix) if prefix and not where.startswith("/")
    ]
    for name in names:
        found = f"builtins.findFile builtins.nixPath {json.dumps(name)}"
        command = ["nix", "eval", "--impure", "--store", store.url, *_ANEW, "--expr", found]
        await _succeed(nix, command, f"<{name}> cannot be fetched")
    return tuple(names)


async def channel_places(nix: Nix) -> dict[str, Path]:
    """Where those entries of Nix's search path lead that go by a profile of channels.

    Raises:
        EvaluationError: Nix does not report its search path.
        ToolError: Nix cannot be used.

    """
    return await asyncio.to_thread(_channel_places, await search_path(nix))


def _channel_places(entries: Iterable[tuple[str, str]]) -> dict[str, Path]:
    places = {}
    for prefix, where in entries:
        path = Path(where)
        if any(each.name in _CHANNELS and each.is_symlink() for each in (path, *path.parents)):
            places[f"<{prefix}>" if prefix else where] = path.resolve()
    return places


async def update_channels(nix: Nix) -> bool:
    """Update the user's channels; False if there are none.

    Raises:
        EvaluationError: one cannot be had.
        ToolError: Nix cannot be used.

    """
    listed = await nix.run(["nix-channel", "--list"])
    if listed.returncode == 0 and not listed.stdout.strip():
        return False
    # Left alone, 2.8 takes what it fetched within the last hour here, too.
    await _succeed(nix, ["nix-channel", "--update", *_ANEW], "the channels cannot be updated")
    return True


async def roll_back_channels(nix: Nix) -> None:
    """Undo the last update of the channels.

    Raises:
        EvaluationError: that is not possible.
        ToolError: Nix cannot be used.

    """
    await _succeed(nix, ["nix-channel", "--rollback"], "the channels cannot be put back")


async def _succeed(nix: Nix, command: Sequence[str], otherwise: str) -> None:
    completed = await nix.run(command)
    if completed.returncode != 0:
        raise EvaluationError(f"{otherwise}:\n{completed.error_text}")
