"""``verify --repair``: have again what is damaged, from whoever still has it.

A path is fetched as a sync does it: verified to the last byte, its NAR put in the place of the
damaged one by a rename, then its narinfo. So whoever reads the destination meanwhile is given the
old file whole or the new one. Asked are, in turn, the caches, a fixed output's origins by the
derivation that is kept, mirrors and archives, what is left of the path in the cache itself, and
the store of this machine; its builder is not run.

What nobody has is set aside (:mod:`mirror.destinations.cache.mending`) where it would give its
readers something wrong. Manifests, receipts and run records are nobody else's: they stay as they
are, and are told with what to do.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from mirror.destinations import CacheDirectory, files
from mirror.destinations.cache.layout import (
    CACHE_INFO,
    CHECKSUMS,
    CONTENTS,
    NARS,
    RETIRED,
    SERVING,
    narinfo_name,
)
from mirror.destinations.closures import known
from mirror.errors import FormatError
from mirror.formats.narinfo import parse_narinfo
from mirror.planning.fetchers.fixed_output_index import FixedOutputs
from mirror.planning.graph import in_order
from mirror.sources import Wanted
from mirror.sync.asking import Item
from mirror.sync.engine import obtain
from mirror.sync.offline.kept_derivations import read_graph, reader
from mirror.sync.verify.at_hand import FromItsNar, OfThisMachine
from mirror.sync.verify.verified import Mended
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mirror.destinations import Destination, NixStore
    from mirror.destinations.cache.at_rest.damage import Damage
    from mirror.formats.narinfo import NarInfo
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.planning.fetchers.fixed_outputs import FixedOutput
    from mirror.sources import Source
    from mirror.sync.report import Observer, Outcome
    from mirror.sync.verify.verified import Verified
    from mirror.sync.workshop import Workshop

_REFERENCES: Final = "destination"
"""What the engine says was asked of a path that had to wait for another, which failed."""


async def repair(
    verified: Verified,
    destination: CacheDirectory | NixStore,
    workshop: Workshop,
    observer: Observer,
    *,
    jobs: int,
) -> Sequence[Mended]:
    """Mend a destination, whose lock is held; what became of each damage, in order.

    Raises:
        DestinationError: it cannot be written.

    """
    wanted = _wanted(verified)
    fetch = partial(_Fetch, destination, workshop, observer, sound=verified.sound, jobs=jobs)
    if isinstance(destination, CacheDirectory):
        with files.explained(destination.path):
            await in_thread(_begin, destination, verified)
        whole = await in_thread(_whole_narinfos, destination, verified, wanted)
        at_hand: list[Source] = [
            FromItsNar(destination.path, workshop.keys),
            OfThisMachine(workshop.local, {path: each.info for path, each in whole.items()}),
        ]
        fetched = fetch(at_hand=at_hand, read=reader(destination))
        await fetched.have(wanted, sum(each.file_size or 0 for each in whole.values()))
        with files.explained(destination.path):
            return await in_thread(_finish, destination, verified, fetched.outcomes)
    infos = await known(destination, {*verified.sound, *wanted})
    at_hand = []
    if workshop.store.root != destination.store.root:
        at_hand.append(OfThisMachine(workshop.local, infos))
    fetched = fetch(at_hand=at_hand, read=reader(destination))
    for layer in _layers(wanted, infos):
        await fetched.have(layer, sum(infos[path].nar_size for path in layer & infos.keys()))
    return [_after(each, fetched.outcomes) for each in verified.damages]


class _Fetch:
    """The fetching of damaged paths; ``outcomes`` are how it went with each.

    ``at_hand`` is asked after all others; ``read`` gives what is in a derivation's file.
    """

    def __init__(
        self,
        destination: Destination,
        workshop: Workshop,
        observer: Observer,
        *,
        sound: Collection[StorePath],
        at_hand: Sequence[Source],
        read: Callable[[StorePath], bytes],
        jobs: int,
    ) -> None:
        self.outcomes: dict[StorePath, Outcome] = {}
        self._destination = destination
        self._workshop = workshop
        self._observer = observer
        self._there = set(sound)
        self._at_hand = at_hand
        self._read = read
        self._jobs = jobs

    async def have(self, wanted: Collection[StorePath], download_bytes: int) -> None:
        """Obtain the paths, as many of them as can be had.

        Raises:
            DestinationError: the destination cannot be written.

        """
        if not wanted:
            return
        await self._obtain(wanted, download_bytes)
        if any(path.is_derivation for path in self._there.intersection(wanted)):
            # More derivations are whole now: they may say where more can be had from.
            await self._obtain(self._failed(), 0)
        held_up = {path for path in self._failed() if self._waited(path)}
        # What these need is damaged, and nobody has it: to leave them so, too, would help nobody.
        self._there |= (await known(self._destination, self._failed() - held_up)).keys()
        await self._obtain(held_up, 0)

    def _failed(self) -> set[StorePath]:
        return {path for path, each in self.outcomes.items() if each.result == "failed"}

    def _waited(self, path: StorePath) -> bool:
        """Whether it was not stored because something that it refers to was not."""
        return any(each.source == _REFERENCES for each in self.outcomes[path].attempts)

    async def _obtain(self, wanted: Collection[StorePath], download_bytes: int) -> None:
        if not wanted:
            return
        graph = await in_thread(read_graph, self._there, self._read)
        fixed_outputs = FixedOutputs(
            graph,
            overrides=self._workshop.nix.environment,
            system=self._workshop.settings.system,
        )
        outcomes = await obtain(
            [self._item(path, fixed_outputs) for path in sorted(wanted)],
            self._destination,
            self._observer,
            present=self._there,
            download_bytes=download_bytes,
            jobs=self._jobs,
            keep_going=True,
        )
        self.outcomes |= outcomes
        self._there |= outcomes.keys() - self._failed()

    def _item(self, path: StorePath, fixed_outputs: Mapping[StorePath, FixedOutput]) -> Item:
        fixed_output = None
        with contextlib.suppress(FormatError):  # of a form that is not known: caches may have it
            fixed_output = fixed_outputs.get(path)
        wanted = Wanted(path=path, fixed_output=fixed_output)
        return Item(wanted=wanted, sources=(*self._workshop.sources(wanted), *self._at_hand))


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


def _wanted(verified: Verified) -> set[StorePath]:
    """The paths to be had again; what was taken out of the cache already is not."""
    return {
        each.path for each in verified.damages if each.path is not None and not _is_retired(each)
    }


def _is_retired(damage: Damage) -> bool:
    return damage.narinfo is not None and damage.narinfo.startswith(f"{RETIRED}/")


def _is_needless(damage: Damage) -> bool:
    is_unnamed = damage.path is None and damage.file.startswith(f"{NARS}/")
    return is_unnamed or _is_retired(damage)


def _whole_narinfos(
    directory: CacheDirectory, verified: Verified, wanted: Collection[StorePath]
) -> dict[StorePath, NarInfo]:
    """What the narinfos say of which only the NAR is damaged."""
    damaged = {each.file for each in verified.damages}
    return _narinfos(directory, [path for path in wanted if narinfo_name(path) not in damaged])


def _narinfos(directory: CacheDirectory, paths: Iterable[StorePath]) -> dict[StorePath, NarInfo]:
    files_of = {path: directory.path / narinfo_name(path) for path in paths}
    return {path: parse_narinfo(files.read_plain_file(file)) for path, file in files_of.items()}


def _begin(directory: CacheDirectory, verified: Verified) -> None:
    """Remove what nothing needs: before a path is had again, whose NAR may have that name."""
    live = {each.file for each in verified.damages if each.path and not _is_retired(each)}
    for each in verified.damages:
        if _is_retired(each):
            directory.mending.remove(each.narinfo or "")
        if each.file.startswith(f"{NARS}/") and each.file not in live:
            directory.mending.remove(each.file)


def _finish(
    directory: CacheDirectory, verified: Verified, outcomes: Mapping[StorePath, Outcome]
) -> list[Mended]:
    """Mend what takes no source, set aside what nobody had, record what there is now."""
    stored = [path for path, outcome in outcomes.items() if outcome.result == "stored"]
    named = {each.url for each in _narinfos(directory, stored).values()}
    mended = [_mend(directory, each, outcomes, named) for each in verified.damages]
    for each in mended:
        # Had from somebody who compresses it otherwise: it is in another file now.
        if (
            each.is_mended
            and each.damage.file.startswith(f"{NARS}/")
            and each.damage.file not in named
        ):
            directory.mending.remove(each.damage.file)
    directory.mending.settle()
    return mended


def _mend(
    directory: CacheDirectory,
    damage: Damage,
    outcomes: Mapping[StorePath, Outcome],
    named: Collection[str],
) -> Mended:
    if damage.file == CACHE_INFO:
        directory.mending.write_cache_info()
    elif damage.file == SERVING:
        directory.mending.empty(damage.file)
    elif damage.file == CONTENTS:
        directory.mending.remove(damage.file)
    elif damage.file != CHECKSUMS and not _is_needless(damage):  # those are mended otherwise
        mended = _after(damage, outcomes)
        if mended.is_mended or not damage.is_unfit:
            return mended
        if damage.file in named:
            # The NAR of another path, too, with which it was had again: its name is its hash.
            return replace(mended, is_mended=True)
        return replace(mended, set_aside=directory.mending.set_aside(damage.file))
    return Mended(damage=damage, is_mended=True)


def _after(damage: Damage, outcomes: Mapping[StorePath, Outcome]) -> Mended:
    outcome = None if damage.path is None else outcomes.get(damage.path)
    if outcome is None:
        return Mended(damage=damage, is_mended=False)
    return Mended(
        damage=damage,
        is_mended=outcome.result == "stored",
        source=outcome.source,
        attempts=outcome.attempts,
    )
