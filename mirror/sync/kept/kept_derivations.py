"""The derivations that a destination keeps, which make the fixed outputs that it keeps.

They say where a damaged source can be downloaded, also if the list that it came from is gone.
"""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError
from mirror.formats.aterm import parse_derivation
from mirror.planning.graph import Graph
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.destinations import Destination
    from mirror.formats.derivation import Derivation
    from mirror.formats.store_path import StorePath

_AT_ONCE: Final = 500
"""How many files are in memory at a time."""


async def read_graph(destination: Destination, paths: Iterable[StorePath]) -> Graph:
    """The derivations among ``paths``; one that cannot be read is left out.

    Raises:
        DestinationError: the destination cannot be looked at.

    """
    derivations: dict[StorePath, Derivation] = {}
    unread = (path for path in paths if path.is_derivation)
    while some := list(islice(unread, _AT_ONCE)):
        derivations |= await in_thread(_parsed, await destination.read_files(some))
    return Graph(derivations)


def _parsed(contents: Mapping[StorePath, bytes]) -> dict[StorePath, Derivation]:
    found = {}
    for path, content in contents.items():
        with contextlib.suppress(FormatError):
            found[path] = parse_derivation(path, content)
    return found
