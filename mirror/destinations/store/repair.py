"""Repairing a Nix store: which damaged paths are to be obtained again, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from mirror.destinations.closures import known
from mirror.planning.graph import in_order

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mirror.destinations.closures import Shelf
    from mirror.destinations.verified import Mended, Verified
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import TrustedKeys
    from mirror.formats.store_path import StorePath


class StoreRepair:
    """The repair of a store; :meth:`begin` makes one."""

    def __init__(self, wanted: Collection[StorePath], infos: Mapping[StorePath, PathInfo]) -> None:
        self.infos = infos
        self.batches: Sequence[Collection[StorePath]] = _layers(wanted, infos)
        self.download_sizes = {path: info.nar_size for path, info in infos.items()}

    @classmethod
    async def begin(cls, store: Shelf, verified: Verified) -> Self:
        """Look what the store knows of what is damaged.

        Raises:
            ToolError: it does not answer.

        """
        wanted = {each.path for each in verified.damages if each.path is not None}
        return cls(wanted, await known(store, {*verified.sound, *wanted}))

    def leftovers(self, keys: TrustedKeys) -> None:
        """None: what is damaged in a store is of no use."""

    async def finish(self, mended: Sequence[Mended]) -> Sequence[Mended]:
        """Do nothing more."""
        return mended


def _layers(
    wanted: Collection[StorePath], infos: Mapping[StorePath, PathInfo]
) -> list[set[StorePath]]:
    """The paths in such an order that none needs, however indirectly, a derivation of a later set.

    To register a derivation, Nix reads all that it is made of.
    """
    depths: dict[StorePath, int] = {}

    def references(path: StorePath) -> Iterable[StorePath]:
        return infos[path].references if path in infos else ()

    for path in in_order(wanted, references):
        below = max((depths[each] for each in references(path) if each != path), default=0)
        depths[path] = below + (path in wanted and path.is_derivation)
    layers: dict[int, set[StorePath]] = {}
    for path in wanted:
        layers.setdefault(depths[path], set()).add(path)
    return [layers[depth] for depth in sorted(layers)]
