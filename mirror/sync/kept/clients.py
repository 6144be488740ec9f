"""Whether clients accept what a destination keeps, and which keys they need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.destinations.records.documents import telling
from mirror.destinations.records.privacy import holdings, private_paths
from mirror.destinations.records.vouched import recorded_keys
from mirror.planning.vouching import vouching
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.destinations import Destination, Generation
    from mirror.destinations.records.documents import Told
    from mirror.formats.signing import PublicKey
    from mirror.planning.vouching import Vouching


async def vouching_of(
    generations: Sequence[Generation], destination: Destination, unreadable: Told
) -> dict[str, Vouching]:
    """Say by target who vouches now for what its newest generation gives to clients.

    ``generations`` are all that there are. A target of which that cannot be found out is left out,
    and ``unreadable`` told of it.
    """
    known: tuple[PublicKey, ...] = ()
    with telling(unreadable):
        known = await destination.signers()
    recorded = recorded_keys(generations)
    newest = {each.target: each for each in sorted(generations, key=lambda each: each.number)}
    private = private_paths(holdings(generations))
    found = {}
    for target, generation in sorted(newest.items()):
        with telling(unreadable):
            infos = await destination.held(set(generation.paths) - private)
            vouched = await in_thread(vouching, infos.values(), known, recorded)
            found[target] = replace(vouched, is_recorded=generation.vouched is not None)
    return found
