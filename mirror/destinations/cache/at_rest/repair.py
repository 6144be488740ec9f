"""Repairing a cache directory, except for obtaining damaged paths again.

What nobody can provide is quarantined (:mod:`.quarantine`) if readers would get wrong data from it.
Manifests, receipts and run records exist nowhere else: they stay as they are, and are reported with
what to do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from mirror.destinations import files
from mirror.destinations.cache.at_rest.leftovers import Leftovers
from mirror.destinations.cache.layout import (
    CACHE_INFO,
    CHECKSUMS,
    CONTENTS,
    NARS,
    RETIRED,
    SERVING,
    narinfo_name,
)
from mirror.destinations.verified import Mended
from mirror.formats.narinfo import parse_narinfo
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from mirror.destinations.cache.at_rest.quarantine import Mending
    from mirror.destinations.verified import Damage, Verified
    from mirror.formats.narinfo import NarInfo
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import TrustedKeys
    from mirror.formats.store_path import StorePath


class CacheRepair:
    """The repair of the cache ``directory``; :meth:`begin` makes one."""

    def __init__(self, directory: Path, mending: Mending, verified: Verified) -> None:
        self._directory = directory
        self._mending = mending
        self._verified = verified
        # What was taken out of the cache already is not obtained again.
        self._wanted = {
            each.path
            for each in verified.damages
            if each.path is not None and not _is_retired(each)
        }
        self._whole: Mapping[StorePath, NarInfo] = {}

    @classmethod
    async def begin(cls, directory: Path, mending: Mending, verified: Verified) -> Self:
        """Remove what nothing needs, and see what is known of the rest.

        Raises:
            DestinationError: a file cannot be removed or read.

        """
        repair = cls(directory, mending, verified)
        with files.explained(directory):
            await in_thread(repair._begin)
        return repair

    @property
    def batches(self) -> Sequence[Collection[StorePath]]:
        """All at once: a path is published also before a damaged one that it refers to."""
        return [self._wanted]

    @property
    def infos(self) -> Mapping[StorePath, PathInfo]:
        """What whole narinfos say whose NARs are damaged."""
        return {path: each.info for path, each in self._whole.items()}

    @property
    def download_sizes(self) -> Mapping[StorePath, int]:
        """The sizes of their files."""
        return {path: each.file_size or 0 for path, each in self._whole.items()}

    def leftovers(self, keys: TrustedKeys) -> Leftovers:
        """The NARs whose narinfos are damaged."""
        return Leftovers(self._directory, keys)

    async def finish(self, mended: Sequence[Mended]) -> Sequence[Mended]:
        """Repair what needs no source, quarantine what nobody had, record checksums."""
        with files.explained(self._directory):
            return await in_thread(self._finish, mended)

    def _begin(self) -> None:
        """Remove unneeded files first: a path that is obtained again may need their names."""
        damages = self._verified.damages
        live = {each.file for each in damages if each.path and not _is_retired(each)}
        for each in damages:
            if _is_retired(each):
                self._mending.remove(each.narinfo or "")
            if _is_nar(each.file) and each.file not in live:
                self._mending.remove(each.file)
        damaged = {each.file for each in damages}
        self._whole = self._narinfos(
            path for path in self._wanted if narinfo_name(path) not in damaged
        )

    def _finish(self, mended: Sequence[Mended]) -> list[Mended]:
        stored = {each.damage.path for each in mended if each.is_mended and each.damage.path}
        named = {each.url for each in self._narinfos(stored).values()}
        settled = [self._settle(each, named) for each in mended]
        for each in settled:
            # Had from somebody who compresses it otherwise: it is in another file now.
            file = each.damage.file
            if each.is_mended and _is_nar(file) and file not in named:
                self._mending.remove(file)
        self._mending.settle()
        return settled

    def _settle(self, mended: Mended, named: Collection[str]) -> Mended:
        damage = mended.damage
        if damage.file == CACHE_INFO:
            self._mending.write_cache_info()
        elif damage.file == SERVING:
            self._mending.empty(damage.file)
        elif damage.file == CONTENTS:
            self._mending.remove(damage.file)
        elif damage.file != CHECKSUMS and not _is_needless(damage):  # those are mended otherwise
            if mended.is_mended or not damage.is_unfit:
                return mended
            if damage.file in named:
                # The NAR of another path, too, with which it was had again: its name is its hash.
                return replace(mended, is_mended=True)
            return replace(mended, set_aside=self._mending.set_aside(damage.file))
        return Mended(damage=damage, is_mended=True)

    def _narinfos(self, paths: Iterable[StorePath]) -> dict[StorePath, NarInfo]:
        return {
            path: parse_narinfo(files.read_plain_file(self._directory / narinfo_name(path)))
            for path in paths
        }


def _is_nar(file: str) -> bool:
    return file.startswith(f"{NARS}/")


def _is_retired(damage: Damage) -> bool:
    return damage.narinfo is not None and damage.narinfo.startswith(f"{RETIRED}/")


def _is_needless(damage: Damage) -> bool:
    return (damage.path is None and _is_nar(damage.file)) or _is_retired(damage)
