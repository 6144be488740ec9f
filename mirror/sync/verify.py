"""``verify``: read all that a destination holds again, and say what is not as it was written.

Reading, decompressing and hashing let go of Python's lock, so one thread a core does it. Without
the destination's lock, what seems damaged is looked at a second time: another run may have been
writing just there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from mirror.destinations import files
from mirror.destinations.at_rest import AtRest
from mirror.destinations.sweep import NAR, RETIRED
from mirror.errors import PrefetchError, first_of
from mirror.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mirror.destinations import CacheDirectory
    from mirror.destinations.at_rest import Survey
    from mirror.destinations.damage import Damage
    from mirror.destinations.path_at_rest import PathAtRest
    from mirror.formats.store_path import StorePath

_AT_ONCE: Final = 16 << 20
"""How many bytes a thread reads before it tells of it, and can be stopped."""


class Progress(Protocol):
    """Who is told how far the reading is."""

    def begin(self, total: int) -> None:
        """So many bytes are to be read, about."""
        ...

    def read(self, amount: int) -> None:
        """So many bytes were read."""
        ...

    def end(self) -> None:
        """Everything was read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification found.

    ``paths`` and ``files`` were read, ``bytes`` in all. ``sound`` are the paths of which nothing
    is wrong that matters to their readers. Of ``unproven`` files all that is known is that they can
    be read; ``strays`` are not of the destination, and were not read.
    """

    paths: int
    files: int
    bytes: int
    damages: tuple[Damage, ...]
    sound: frozenset[StorePath]
    unproven: int = 0
    strays: tuple[str, ...] = ()


@dataclass
class _Found:
    """What was found of the narinfos so far, all by file."""

    paths: dict[str, StorePath] = field(default_factory=dict)
    needed: dict[StorePath, str] = field(default_factory=dict)
    nars: set[str] = field(default_factory=set)
    damages: list[Damage] = field(default_factory=list)
    unproven: int = 0
    bytes: int = 0

    def add(self, path: PathAtRest) -> None:
        self.damages += path.damages
        self.unproven += path.is_unproven
        if path.nar is not None:
            self.nars.add(path.nar)
        if path.entry is not None:
            info = path.entry.info
            self.paths[path.file] = info.path
            for reference in info.references:
                if reference != info.path:
                    self.needed.setdefault(reference, path.file)


async def verify_cache(
    directory: CacheDirectory, progress: Progress, *, jobs: int, is_locked: bool
) -> Verified:
    """Read a cache directory; ``is_locked``: its lock is held, and no other run writes there.

    Raises:
        DestinationError: it, or something in it, may not be read.

    """
    at_rest = await in_thread(AtRest, directory.path)
    survey = await in_thread(at_rest.survey)
    progress.begin(sum(survey.nars.values()))
    try:
        found = await _read(at_rest, survey, progress, jobs=jobs)
    finally:
        progress.end()
    there = {file.rpartition("/")[2] for file in found.paths}
    needed = {**found.needed, **survey.kept}
    damages = [*survey.damages, *found.damages]
    damages += await in_thread(at_rest.missing, needed, there)
    if damages and not is_locked:
        damages = await _look_again(directory, damages)
    named = {path.hash_part: path for path in needed}
    unfit = {each.narinfo for each in damages if each.is_unfit}
    return Verified(
        paths=len(survey.narinfos),
        files=survey.files + len(survey.nars) + len(survey.narinfos),
        bytes=survey.bytes + found.bytes,
        damages=tuple(_with_path(each, named) for each in damages),
        sound=frozenset(
            path
            for file, path in found.paths.items()
            if file not in unfit and not file.startswith(RETIRED)
        ),
        unproven=survey.unproven + found.unproven,
        strays=(
            *survey.strays,
            *(
                file
                for name in survey.nars
                if (file := f"nar/{name}") not in found.nars and not NAR.fullmatch(name)
            ),
        ),
    )


async def _read(at_rest: AtRest, survey: Survey, progress: Progress, *, jobs: int) -> _Found:
    """Read every narinfo with its NAR, and then the files of ``nar`` that none of them names."""
    found = _Found()

    async def work(reader: _Reader) -> None:
        while (amount := await in_thread(reader.read_some)) is not None:
            for path in reader.taken():
                found.add(path)
            found.bytes += amount
            progress.read(amount)

    queue = deque(survey.narinfos)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(work(_Reader(at_rest, queue)))
    except* PrefetchError as errors:
        raise first_of(errors) from None
    for name, size in survey.nars.items():
        if f"nar/{name}" not in found.nars:
            found.damages += await in_thread(at_rest.unnamed, name)
            found.bytes += size
            progress.read(size)
    return found


class _Reader:
    """One thread's work: it takes narinfos from ``queue`` and reads what they name."""

    def __init__(self, at_rest: AtRest, queue: deque[str]) -> None:
        self._at_rest = at_rest
        self._queue = queue
        self._path: PathAtRest | None = None
        self._steps: Iterator[int] = iter(())
        self._done: list[PathAtRest] = []

    def read_some(self) -> int | None:
        """Read up to :data:`_AT_ONCE` bytes, or a little more; None if nothing is left.

        Raises:
            DestinationError: a file may not be read.

        """
        amount = 0
        while amount < _AT_ONCE:
            with files.explained(self._at_rest.directory):
                step = next(self._steps, None)
            if step is not None:
                amount += step
                continue
            if self._path is not None:
                self._done.append(self._path)
                self._path = None
            try:
                self._path = self._at_rest.path(self._queue.popleft())
            except IndexError:
                return amount if amount or self._done else None
            self._steps = self._path.check()
        return amount

    def taken(self) -> list[PathAtRest]:
        """The paths that are read, each once."""
        done, self._done = self._done, []
        return done


async def _look_again(directory: CacheDirectory, damages: Iterable[Damage]) -> list[Damage]:
    """Those of ``damages`` that are there still."""
    at_rest = await in_thread(AtRest, directory.path)
    found: dict[tuple[str, str], Damage] = {}
    for damage in damages:
        for each in await in_thread(at_rest.again, damage):
            found[each.file, each.problem] = each
    return list(found.values())


def _with_path(damage: Damage, named: Mapping[str, StorePath]) -> Damage:
    """Add which path a narinfo is of that cannot be read, where something else names that."""
    if damage.path is not None or damage.narinfo is None:
        return damage
    part = damage.narinfo.rpartition("/")[2].partition(".")[0]
    return replace(damage, path=named.get(part))
