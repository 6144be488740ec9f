"""Who vouches for what is served, by host: what the narinfos that are given say now.

A manifest says who vouched when its generation was kept. ``prefetch sign`` and ``prefetch prune
--old-signatures`` change that afterwards, so the narinfos are looked at again once they may have
changed; a signature that the manifest knows of is not verified again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.destinations.records.privacy import holdings, private_paths
from mirror.destinations.records.vouched import recorded_keys
from mirror.errors import DestinationError, FormatError
from mirror.formats.signing import PublicKey
from mirror.planning.vouching import vouching
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mirror.destinations import Generation
    from mirror.formats.store_path import StorePath
    from mirror.planning.vouching import Vouching
    from mirror.serve.library.library import Library


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """Who vouches for a target's paths, and the ``keys`` that a client of it has to be told."""

    vouching: Vouching
    keys: tuple[str, ...]


class Vouchers:
    """Who vouches for a library's hosts; results are cached while nothing changes."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._newest: Mapping[str, tuple[StorePath, ...]] = {}
        self._recorded: Mapping[PublicKey, Collection[StorePath]] = {}
        self._unrecorded: Collection[str] = ()
        self._state: object = None
        self._found: Mapping[str, Vouching] = {}

    def read(self, generations: Sequence[Generation]) -> None:
        """Take note of all generations that there are."""
        in_turn = sorted(generations, key=lambda each: each.number)
        private = private_paths(holdings(generations))
        newest = {
            each.target: [path for path in each.paths if path not in private] for each in in_turn
        }
        recorded = {each.target: each.vouched is not None for each in in_turn}
        self._unrecorded = {target for target, is_recorded in recorded.items() if not is_recorded}
        # Most paths are those of many targets: each is remembered once.
        once = {path: path for paths in newest.values() for path in paths}
        self._newest = {
            target: tuple(map(once.__getitem__, paths)) for target, paths in newest.items()
        }
        self._recorded = {
            key: frozenset(once[path] for path in paths if path in once)
            for key, paths in recorded_keys(generations).items()
        }
        self._state = None

    async def newest(self) -> Mapping[str, Vouched]:
        """Who vouches for the newest generation of each target, by its name.

        Raises:
            DestinationError: what is kept cannot be read.
            ToolError: the store does not answer.

        """
        ours = await self._ours()
        state = (await self._library.signatures_state(), ours)
        if state != self._state:
            self._found = {
                name: replace(
                    await self._look_at(each, ours), is_recorded=name not in self._unrecorded
                )
                for name, each in self._newest.items()
            }
            self._state = state
        return {
            name: Vouched(vouching=each, keys=tuple(map(str, each.client_keys(preferred=ours))))
            for name, each in self._found.items()
        }

    async def _ours(self) -> tuple[PublicKey, ...]:
        """The mirror's own keys; if they cannot be read, the page says why."""
        try:
            return tuple(PublicKey.parse(each) for each in await self._library.public_keys())
        except (DestinationError, FormatError):
            return ()

    async def _look_at(self, paths: Collection[StorePath], ours: Sequence[PublicKey]) -> Vouching:
        infos = await self._library.infos(paths)
        return await in_thread(vouching, infos, ours, self._recorded)
