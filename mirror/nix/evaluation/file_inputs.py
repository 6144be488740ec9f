"""What evaluating a file takes from the store besides what it asks the store for.

That is where the search path (``<nixpkgs>``) leads: a channel is a link in a profile, which leads
into the store; and the file itself, where it is a link into the store. What ``fetchTarball`` and
the like bring is asked of the store: :mod:`mirror.nix.evaluation.recording` sees it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.errors import EvaluationError
from mirror.nix.origin_of_path import store_path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation
    from mirror.planning.lists.targets import FileInstallable


async def file_inputs(
    nix: Nix, installable: FileInstallable, *, store: StoreLocation
) -> dict[StorePath, str]:
    """Find the store paths that ``installable`` and Nix's search path lead to, and which does.

    All of the search path counts, used or not: Nix takes the first entry that fits.

    Raises:
        EvaluationError: Nix does not report its search path.
        ToolError: Nix cannot be used.

    """
    places = {f"<{prefix}>" if prefix else where: where for prefix, where in await search_path(nix)}
    places |= {str(each): str(each) for each in (installable.file, installable.arguments) if each}
    return await asyncio.to_thread(_resolve, list(places.items()), store)


async def search_path(nix: Nix) -> list[tuple[str, str]]:
    """What Nix looks ``<…>`` up in: prefixes, each with a path or URL, in order.

    Raises:
        EvaluationError: Nix does not tell.
        ToolError: Nix cannot be used.

    """
    command = ["nix", "eval", "--impure", "--json", "--expr", "builtins.nixPath"]
    completed = await nix.run(command)
    if completed.returncode != 0:
        raise EvaluationError(f"Nix does not report its search path: {completed.error_text}")
    return [(entry["prefix"], entry["path"]) for entry in json.loads(completed.stdout)]


def _resolve(places: Sequence[tuple[str, str]], store: StoreLocation) -> dict[StorePath, str]:
    found: dict[StorePath, str] = {}
    for name, where in places:
        # What is no absolute path is fetched (https://…, channel:…, flake:…), and so recorded.
        try:
            path = store_path_of(Path(where), store) if where.startswith("/") else None
        except OSError:
            continue  # Nix cannot follow it either
        if path is not None:
            found.setdefault(path, name)
    return found
