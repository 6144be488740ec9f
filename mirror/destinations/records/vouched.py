"""Which keys signed the kept paths, according to manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.planning.vouching import vouching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mirror.destinations.records.generation import Generation
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import PublicKey
    from mirror.formats.store_path import StorePath


def recorded_keys(generations: Iterable[Generation]) -> dict[PublicKey, set[StorePath]]:
    """The keys that were trusted when something was kept, each with the paths that it had signed.

    A key that an earlier run trusted is among them, although the present one may not name it.
    """
    found: dict[PublicKey, set[StorePath]] = {}
    for generation in generations:
        for key, paths in (generation.vouched or {}).items():
            found.setdefault(key, set()).update(paths)
    return found


def refused_by_clients(
    generations: Iterable[Generation], ours: Iterable[PublicKey]
) -> Callable[[PathInfo], bool]:
    """Give what says of a path whether every client refuses it, although somebody signed it.

    It is known only of paths of a generation whose manifest says which keys were trusted: of any
    other, a signature by a key that is not known here may well be one that its clients trust.
    """
    generations = tuple(generations)
    recorded = recorded_keys(generations)
    judged = {path for each in generations if each.vouched is not None for path in each.paths}
    known = (*ours, *recorded)

    def is_refused(info: PathInfo) -> bool:
        return info.path in judged and info.path in vouching([info], known).refused

    return is_refused
