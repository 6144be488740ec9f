"""``verify`` of a Nix store: the paths of its generations, compared with what Nix registered.

Each path's NAR is made of its files, by as many threads as there are cores, and must have the hash
and the size that Nix's database has, and what its content address says: ``nix-store --verify-path``
compares the hash, in one thread. What else is in the store is Nix's own business.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mirror.destinations import files
from mirror.destinations.reading import check_all
from mirror.destinations.verified import Damage, Verified
from mirror.errors import FormatError, IntegrityError
from mirror.formats import nar
from mirror.formats.verifier import Claim, NarVerifier
from mirror.nix.file_tree import tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.destinations.destination import Destination
    from mirror.destinations.reading import Progress
    from mirror.errors import DestinationError
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.nix.stores import StoreLocation


async def verify_store(
    store: Destination, at: StoreLocation, progress: Progress, *, jobs: int
) -> Verified:
    """Read all that the generations of a store keep, whose files are ``at`` a place.

    Raises:
        DestinationError: a path may not be read.
        ToolError: Nix does not answer.

    """
    unreadable: list[DestinationError] = []
    generations = await store.generations(unreadable.append)
    await store.receipts(unreadable.append)
    await store.run_records(unreadable.append)
    kept: dict[StorePath, str] = {}
    for generation in generations:
        needed_by = f"generation {generation.number} of {generation.target}"
        for path in generation.paths:
            kept.setdefault(path, needed_by)
    infos = await store.held(kept)
    damages = [_of_document(each) for each in unreadable]
    damages += [_missing(path, needed_by) for path, needed_by in kept.items() if path not in infos]
    sound: set[StorePath] = set()

    def take(path: _PathInStore) -> None:
        if path.problem is None:
            sound.add(path.info.path)
        else:
            damages.append(_damage(path.info.path, path.problem, at))

    progress.begin(sum(info.nar_size for info in infos.values()))
    checks = [_PathInStore(info, at.real(info.path)) for info in infos.values()]
    try:
        amount = await check_all(checks, take, progress, jobs=jobs)
    finally:
        progress.end()
    return Verified(
        paths=len(kept),
        files=len(generations),
        bytes=amount,
        damages=tuple(damages),
        sound=frozenset(sound),
    )


class _PathInStore:
    """A valid path; after :meth:`check`, ``problem`` is what is wrong with it, None if nothing."""

    def __init__(self, info: PathInfo, real: Path) -> None:
        self.info = info
        self.problem: str | None = None
        self._real = real

    def check(self) -> Iterator[int]:
        try:
            verifier = NarVerifier(Claim(info=self.info))
            for piece in nar.serialize(tree(self._real)):
                for _ in verifier.feed(piece):
                    pass
                yield len(piece)
            verifier.finish()
        except PermissionError:
            with files.explained(self._real):
                raise
        except OSError as error:
            self.problem = f"it cannot be read: {error.strerror or error}"
        except (FormatError, IntegrityError) as error:
            self.problem = error.message


def _damage(path: StorePath, problem: str, store: StoreLocation) -> Damage:
    words = ["nix-store", *([] if store.url == "auto" else ["--store", store.url])]
    hint = f"Nix mends it, too: {shlex.join([*words, '--repair-path', path])}"
    return Damage(file=path, problem=problem, path=path, hint=hint)


def _missing(path: StorePath, needed_by: str) -> Damage:
    return Damage(file=path, problem=f"it is not valid, and {needed_by} needs it", path=path)


def _of_document(error: DestinationError) -> Damage:
    file, _, problem = error.message.partition(": ")
    return Damage(file=file, problem=problem, hint=error.hint, is_mended_by_hand=True)
