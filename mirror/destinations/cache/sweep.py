"""Sweeping a cache directory: mark what generations need, and remove the rest.

The caller holds the directory's lock, and has removed the manifests of dropped generations. The
paths of the remaining generations are marked, and everything that they refer to. The rest is
removed in steps, each of which leaves a directory that any reader can use, so a sweep may be killed
anywhere:

1. Narinfos are *retired*, referrers before what they refer to: they are renamed to
   ``.prefetch/retired/<hash part>.narinfo``, and their modification time is set to now. Readers of
   the directory no longer see them; the NARs stay.
2. A server still serves retired narinfos to clients that were led to them, by a narinfo that refers
   to them or a derivation that makes them. So they are purged only after a grace period, unless
   nobody serves the directory, or has done so recently (:mod:`.served`): then the sweep holds the
   servers' lock exclusively, and purges all of them.
3. NARs that no narinfo names, published or retired, are deleted (several may name one NAR). A
   narinfo that is a link, and its NAR, are left alone. While a marked narinfo cannot be read, no
   NAR is deleted, since it may be the one that is named there.

A retired path that a sync publishes again is back; the next sweep removes its retired copy. Files
with names that do not belong to a cache are left alone. Blocking, for use off the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.cache.layout import (
    GENERATIONS,
    NAR,
    NARS,
    RECEIPTS,
    RETIRED,
    RUNS,
    SERVING,
    TEMPORARY,
)
from mirror.destinations.cache.narinfo_files import (
    closure,
    linked_nars,
    modified,
    narinfo_files,
    plain_files,
    referrers_first,
    size_of,
)
from mirror.destinations.cache.served import note_served, was_served_lately
from mirror.destinations.capabilities import HeldBack, Swept
from mirror.destinations.records import documents
from mirror.system.locks import take_lock
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from mirror.destinations.cache.narinfo_files import NarinfoFile
    from mirror.formats.store_path import StorePath

_RECORD: Final = re.compile(r".*\.json")
_RECORDS: Final = (RECEIPTS, RUNS)
_TEMPORARY_LIFE: Final = timedelta(hours=1)
"""Records are written without the lock; a temporary file this old is no writer's any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """What there is: narinfos, and NARs and strays with their sizes in bytes.

    ``unmarked`` are published, in the order in which they can be retired; ``linked`` are the NARs
    of narinfos that are links.
    """

    marked: Mapping[str, NarinfoFile]
    unmarked: Sequence[NarinfoFile]
    nars: Mapping[str, int]
    strays: Mapping[Path, int]
    linked: Collection[str]

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The marked narinfos that do not say which NAR they name."""
        return tuple(each.file.name for each in self.marked.values() if each.narinfo is None)

    def unnamed(self, retired: Iterable[NarinfoFile]) -> set[str]:
        """The NARs that neither a marked narinfo nor a retired one names, as far as is known."""
        if self.unreadable:
            return set()
        named = {each.url for each in (*self.marked.values(), *retired)}
        return self.nars.keys() - named - set(self.linked)

    def swept(
        self,
        narinfos: Iterable[NarinfoFile],
        nars: Iterable[str],
        held_back: HeldBack | None = None,
    ) -> Swept:
        """The result if these and the strays are deleted."""
        sizes = [
            *(each.size for each in narinfos),
            *(self.nars[url] for url in nars),
            *self.strays.values(),
        ]
        return Swept(
            retired=tuple(each.label for each in self.unmarked),
            files=len(sizes),
            bytes=sum(sizes),
            held_back=held_back,
            unreadable=self.unreadable,
        )


@dataclass(frozen=True, slots=True)
class CacheSweeping:
    """The sweeping of the cache ``directory``, as a destination offers it."""

    directory: Path

    async def sweep(
        self,
        live: Collection[StorePath] | None,
        *,
        targets: Collection[str],
        now: datetime,
        grace: timedelta,
        is_served: bool,
        dry_run: bool,
    ) -> Swept:
        """Sweep, or say what would go."""
        sweep = Sweep(self.directory, live=live, targets=targets, now=now)
        if dry_run:
            return await asyncio.to_thread(sweep.rehearse)
        return await in_thread(sweep.run, grace=grace, is_served=is_served)


class Sweep:
    """A sweep of the cache directory ``path`` at ``now`` (UTC).

    ``live`` are the paths of its generations. Receipts and run records of other targets than
    ``targets`` go too. Without ``live`` nothing is known to be kept, and so nothing to be garbage:
    all that is published stays, and only what was retired before is purged.
    """

    def __init__(
        self,
        path: Path,
        *,
        live: Collection[StorePath] | None,
        targets: Collection[str],
        now: datetime,
    ) -> None:
        self._path = path
        self._retired = path / RETIRED
        self._live = live
        self._records = {f"{documents.file_name(target)}.json" for target in targets}
        # What is retired has this as its file's time, which must not be later than now.
        self._now = now.replace(microsecond=0)

    def rehearse(self) -> Swept:
        """Say what would go if nobody serves the directory; takes no lock and changes nothing.

        Raises:
            DestinationError: the directory cannot be read.

        """
        with files.explained(self._path):
            found = self._survey()
            narinfos = [*found.unmarked, *narinfo_files(self._retired).values()]
        return found.swept(narinfos, found.unnamed(()))

    def run(self, *, grace: timedelta, is_served: bool = False) -> Swept:
        """Sweep; what was retired at least ``grace`` ago goes even if somebody serves.

        ``is_served``: somebody does, although nothing shows it, such as another web server.

        Raises:
            DestinationError: the directory cannot be read or written.

        """
        with files.explained(self._path):
            found = self._survey()
            for stray in found.strays:
                stray.unlink(missing_ok=True)
            self._remove_empty_directories()
            self._retire(found.unmarked)
            with _unless_served(self._path / SERVING) as nobody_serves:
                if not nobody_serves:
                    note_served(self._path, self._now)
                has_clients = is_served or was_served_lately(self._path, self._now)
                swept = self._purge(found, grace if has_clients else None)
        held_back = swept.held_back
        if held_back is not None:
            held_back = replace(held_back, is_running=not nobody_serves)
        return replace(swept, held_back=held_back)

    def _survey(self) -> _Survey:
        published = narinfo_files(self._path)
        live = published.keys() if self._live is None else closure(self._live, published)
        return _Survey(
            marked={part: each for part, each in published.items() if part in live},
            unmarked=referrers_first(
                {part: each for part, each in published.items() if part not in live}
            ),
            nars={
                f"{NARS}/{each.name}": size_of(each) for each in plain_files(self._path / NARS, NAR)
            },
            strays={} if self._live is None else self._strays(),
            linked=linked_nars(self._path),
        )

    def _strays(self) -> dict[Path, int]:
        """Records of targets that are gone, and the temporary files of writers that were killed."""
        found = {}
        for directory in (self._path / name for name in _RECORDS):
            for each in plain_files(directory, _RECORD):
                if each.name not in self._records:
                    found[directory / each.name] = size_of(each)
            for each in plain_files(directory, TEMPORARY):
                if self._now - modified(each) > _TEMPORARY_LIFE:
                    found[directory / each.name] = size_of(each)
        return found

    def _remove_empty_directories(self) -> None:
        """Remove what a run that was killed left of a target without any manifest."""
        for directory in (self._path / GENERATIONS).glob("*/"):
            with contextlib.suppress(OSError):  # it has manifests
                directory.rmdir()

    def _retire(self, entries: Sequence[NarinfoFile]) -> None:
        if not entries:
            return
        files.make_directory(self._retired)
        moment = self._now.timestamp()
        for each in entries:
            # The time first: with an old one, a retired narinfo's grace would seem to be over.
            os.utime(each.file, (moment, moment))
            each.file.replace(self._retired / each.file.name)
        for directory in (self._retired, self._path):
            files.sync_directory(directory)

    def _purge(self, found: _Survey, grace: timedelta | None) -> Swept:
        """Delete what is retired, all of it without ``grace``, and then the NARs left unnamed."""
        retired = {part: self._begun(each) for part, each in narinfo_files(self._retired).items()}
        staying = {
            part: each
            for part, each in retired.items()
            if grace is not None
            and self._now - each.modified < grace
            and not _is_back(each, found.marked.get(part))
        }
        going = referrers_first(
            {part: each for part, each in retired.items() if part not in staying}
        )
        for each in going:
            each.file.unlink(missing_ok=True)
        if going:
            files.sync_directory(self._retired)
        unnamed = found.unnamed(staying.values())
        for url in sorted(unnamed):
            (self._path / url).unlink(missing_ok=True)
        held_back = None
        if grace is not None and staying:
            nars = found.unnamed(()) - unnamed
            held_back = HeldBack(
                paths=len(staying),
                bytes=sum(each.size for each in staying.values())
                + sum(found.nars[url] for url in nars),
                until=max(each.modified for each in staying.values()) + grace,
            )
        return found.swept(going, unnamed, held_back)

    def _begun(self, retired: NarinfoFile) -> NarinfoFile:
        """Restart the grace period if the clock has been set back since it was retired."""
        if retired.modified <= self._now:
            return retired
        moment = self._now.timestamp()
        os.utime(retired.file, (moment, moment))
        return replace(retired, modified=self._now)


def _is_back(retired: NarinfoFile, published: NarinfoFile | None) -> bool:
    """Whether the path is published again, with the same NAR."""
    return published is not None and published.url == retired.url


@contextlib.contextmanager
def _unless_served(lock: Path) -> Iterator[bool]:
    """Whether nobody serves it; then no server can start until the context is left."""
    # For writing: NFS has no exclusive lock without.
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield take_lock(descriptor)
    finally:
        os.close(descriptor)
