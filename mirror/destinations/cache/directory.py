"""A binary cache directory as a destination: what stock Nix reads as ``file://`` or over http.

Its files are those of :mod:`.layout`. What is private is in files that their owner alone can read
(:mod:`.private_files`).

What was compressed upstream is kept byte for byte, with upstream's signatures and no other. What
was made here (:attr:`Claim.made_here`) is compressed with zstd, and signed if there is a key.
The order in which files get their names, and why, is in :mod:`.publishing`.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from typing import TYPE_CHECKING, Literal, Self, cast

from mirror.destinations import files
from mirror.destinations.cache.at_rest.quarantine import Mending
from mirror.destinations.cache.at_rest.repair import CacheRepair
from mirror.destinations.cache.at_rest.verification import verify_cache
from mirror.destinations.cache.checksums import Checksums
from mirror.destinations.cache.layout import (
    CACHE_INFO,
    GENERATIONS,
    HIDDEN,
    LOCK,
    NARS,
    RECEIPTS,
    RETIRED,
    RUNS,
    SERVING,
    STAGING,
)
from mirror.destinations.cache.looking.accepted_keys import AcceptedKeys
from mirror.destinations.cache.looking.contents import TEMPORARY_PREFIX, Contents
from mirror.destinations.cache.looking.inspection import Inspection
from mirror.destinations.cache.looking.lookup import Lookup
from mirror.destinations.cache.manifests import Manifests
from mirror.destinations.cache.nar_files import read_files, read_path
from mirror.destinations.cache.narinfo_files import file_sizes
from mirror.destinations.cache.opening import refuse_links, refuse_other_directories
from mirror.destinations.cache.private_files import Restricting
from mirror.destinations.cache.publishing import Publishing
from mirror.destinations.cache.signatures import CacheSigning, Signatures, read_public_keys
from mirror.destinations.cache.staging import CacheStaging
from mirror.destinations.cache.substituter import file_url
from mirror.destinations.cache.sweep import CacheSweeping
from mirror.destinations.flushing import Flusher
from mirror.destinations.free_space import Room, room_at
from mirror.destinations.records.privacy import holdings, private_paths
from mirror.destinations.records.record_files import RecordFiles
from mirror.errors import DestinationError
from mirror.planning.presence import whole
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from pathlib import Path

    from mirror.destinations.capabilities import KeptNar
    from mirror.destinations.destination import Ready
    from mirror.destinations.reading import Progress
    from mirror.destinations.records.documents import Told
    from mirror.destinations.records.generation import Generation
    from mirror.destinations.verified import Verified
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import PublicKey, SecretKey
    from mirror.formats.store_path import StorePath
    from mirror.formats.verifier import Claim
    from mirror.planning.presence import Found


class CacheDirectory(RecordFiles):
    """A binary cache directory; :meth:`open` makes one."""

    keeps: Literal["compressed", "nar"] = "compressed"
    is_for_others = True
    store = None

    def __init__(
        self,
        path: Path,
        *,
        signing_key: SecretKey | None = None,
        to_mend: bool = False,
        reads_contents: bool = False,
    ) -> None:
        self.directory = path.absolute()
        super().__init__(receipts=self.directory / RECEIPTS, runs=self.directory / RUNS)
        self._signing_key = signing_key
        self._is_locked = False
        self._staging = self.directory / STAGING
        self._manifests = Manifests(self.directory / GENERATIONS, self._staging)
        self._checksums = Checksums(
            self.directory, temporaries=self._staging, retired=self.directory / RETIRED
        )
        self._contents = Contents(self.directory)
        self._accepted = AcceptedKeys(self.directory, self._manifests)
        self._inspection = Inspection(self.directory, self._contents, keys=self._accepted.find)
        self._lookup = Lookup(
            self.directory, self._inspection, self._contents, reads_contents=reads_contents
        )
        self._restricting = Restricting(self.directory, self._staging)
        self._flusher = Flusher()
        self._publishing = Publishing(
            self.directory,
            temporaries=self._staging,
            checksums=self._checksums,
            contents=self._contents,
            lookup=self._lookup,
            restricting=self._restricting,
            signing_key=signing_key,
            to_mend=to_mend,
            flusher=self._flusher,
        )

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        signing_key: SecretKey | None = None,
        exclusive: bool = True,
        to_mend: bool = False,
        reads_contents: bool = False,
        remembers: bool = False,
    ) -> AsyncIterator[Self]:
        """Open a cache directory, made if it is missing, and hold its lock.

        With ``exclusive`` false nothing is made and no lock taken: it is for looking only
        (:meth:`held`, :meth:`generations`) and for receipts, also while another run writes.
        ``to_mend``: it is a cache, whatever has become of its ``nix-cache-info``.

        With ``reads_contents``, :meth:`look_up` reads the NARs whose content is not known. Where
        the lock is held, or with ``remembers``, what they had is recorded at the end
        (:mod:`.looking.contents`).

        Raises:
            LockedError: another run holds the lock.
            DestinationError: the directory cannot be used, or is something else.

        """
        cache = cls(path, signing_key=signing_key, to_mend=to_mend, reads_contents=reads_contents)
        with contextlib.ExitStack() as stack:
            stack.enter_context(cache._flusher)
            if not to_mend:
                await asyncio.to_thread(refuse_other_directories, cache.directory)
            if exclusive:
                await asyncio.to_thread(refuse_links, cache.directory)
                lock = files.locked(cache.directory / LOCK, f"the cache {cache.directory}")
                stack.enter_context(lock)
                cache._is_locked = True
                await in_thread(cache._prepare)
                if to_mend:
                    earlier = await cache.generations(_nobody)
                    cache._publishing.private = private_paths(holdings(earlier))
                stack.callback(shutil.rmtree, cache._staging, ignore_errors=True)
            if exclusive:
                stack.callback(cache._contents.write, cache._staging)
            elif remembers:
                stack.callback(cache._contents.write, cache.directory / HIDDEN)
            yield cache

    @property
    def name(self) -> str:
        """The directory."""
        return str(self.directory)

    @property
    def signing(self) -> CacheSigning:
        """The mirror's own signatures in it."""
        return CacheSigning(self.signatures)

    @property
    def signatures(self) -> Signatures:
        """The same, for use off the event loop."""
        return Signatures(self.directory, temporaries=self._staging, checksums=self._checksums)

    async def signers(self) -> tuple[PublicKey, ...]:
        """The keys of ``public-keys``."""
        return tuple(await asyncio.to_thread(read_public_keys, self.directory))

    async def sign(self, paths: Collection[StorePath]) -> bool:
        """Sign paths with the mirror's key, if there is one."""
        if self._signing_key is None:
            return False
        await in_thread(self.signatures.add_to, self._signing_key, paths)
        return True

    async def room(self) -> Room:
        """Look how much more there is room for."""
        return await asyncio.to_thread(room_at, self.directory)

    @property
    def sweeping(self) -> CacheSweeping:
        """The removal of what no generation needs."""
        return CacheSweeping(self.directory)

    @property
    def mending(self) -> Mending:
        """The repairs that need no source."""
        return Mending(self.directory, temporaries=self._staging, checksums=self._checksums)

    def as_substituter(self) -> AbstractContextManager[str]:
        """As ``file://``."""
        return file_url(self.directory)

    def watched(self) -> tuple[Path, ...]:
        """The directories of manifests, receipts and records."""
        generations = self.directory / GENERATIONS
        of_targets: tuple[Path, ...] = ()
        with contextlib.suppress(OSError):  # whoever reads it says so
            of_targets = tuple(generations.iterdir())
        return (self.directory / RECEIPTS, self.directory / RUNS, generations, *of_targets)

    async def protect(self, paths: Collection[StorePath]) -> bool:  # noqa: ARG002 - as said
        """Do nothing: only a run that holds the lock removes paths."""
        return False

    async def held(self, paths: Collection[StorePath]) -> Mapping[StorePath, PathInfo]:
        """Those of ``paths`` that Nix could use from here, if it had their references."""
        return whole(await self.look_up(paths))

    async def look_up(self, paths: Collection[StorePath]) -> Mapping[StorePath, Found]:
        """What there is of ``paths``; where NARs have to be read for that, they are."""
        return await self._lookup.look_up(paths)

    async def sizes(self, paths: Collection[StorePath]) -> Mapping[StorePath, Mapping[str, int]]:
        """The sizes of their narinfos and of the files of their NARs."""
        with files.explained(self.directory):
            return await in_thread(file_sizes, self.directory, paths)

    def look_as(self, *, trusted_keys: Iterable[str], is_old_nix: bool) -> None:
        """Judge altered narinfos as a client's Nix does.

        Signatures of ``trusted_keys``, too, count for it; ``is_old_nix``: it reads narinfos as 2.8
        does, not as 2.34 does.
        """
        self._inspection.is_old_nix = is_old_nix
        self._accepted.trust(trusted_keys)

    async def restrict(self, private: Collection[StorePath], given: Collection[StorePath]) -> bool:
        """Make ``private`` paths, also future ones, private, and ``given`` ones readable by all."""
        self._publishing.private = frozenset(private)
        with files.explained(self.directory):
            return await in_thread(self._restricting.restrict, private, given)

    async def hidden(self, private: Collection[StorePath]) -> Collection[StorePath]:
        """Those of ``private`` paths that are there, and that this user may not read."""
        with files.explained(self.directory):
            return await in_thread(self._restricting.hidden, private)

    def read(self, path: StorePath) -> AbstractAsyncContextManager[KeptNar]:
        """Open a path's NAR as it is."""
        return read_path(self.directory, path)

    async def read_files(self, paths: Collection[StorePath]) -> Mapping[StorePath, bytes]:
        """What is in the NARs of paths that are one file each."""
        return await in_thread(read_files, self.directory, paths)

    async def verify(self, progress: Progress, *, jobs: int) -> Verified:
        """Read everything again; without the lock, what seems damaged is looked at again."""
        return await verify_cache(self.directory, progress, jobs=jobs, is_locked=self._is_locked)

    async def begin_repair(self, verified: Verified) -> CacheRepair:
        """Begin to mend what was found to be damaged."""
        return await CacheRepair.begin(self.directory, self.mending, verified)

    @contextlib.asynccontextmanager
    async def stage(self, claim: Claim) -> AsyncIterator[CacheStaging]:
        """Make room for a path, as it arrives."""
        staging = CacheStaging(
            claim,
            temporaries=self._staging,
            mode=self._publishing.mode(claim.info.path),
        )
        try:
            yield staging
        finally:
            staging.discard()

    async def commit(self, batch: Sequence[Ready]) -> None:
        """Publish paths; where one cannot be written, those before it."""
        # Each was staged here.
        staged = [(cast("CacheStaging", each.staging), each.verified) for each in batch]
        await in_thread(self._publishing.commit, staged)

    async def keep(self, generation: Generation) -> None:
        """Write the generation's manifest, once everything before it is durable.

        Raises:
            DestinationError: a path of it is not held, or the manifest cannot be written.

        """
        missing = set(generation.paths) - set(await self.held(generation.paths))
        if missing:
            raise DestinationError(
                f"{len(missing)} paths of {generation.target} are not in {self.directory}, "
                f"{min(missing)} for one"
            )
        await in_thread(self._settle)
        await in_thread(self._manifests.write, generation)

    async def generations(self, unreadable: Told | None = None) -> list[Generation]:
        """Every generation kept, by target and number.

        Raises:
            DestinationError: a manifest cannot be read, and there is no ``unreadable`` to be told.

        """
        return await asyncio.to_thread(self._manifests.read, unreadable)

    async def forget(self, generation: Generation) -> None:
        """Remove the generation's manifest; its paths stay."""
        await in_thread(self._manifests.remove, generation)

    def _prepare(self) -> None:
        with files.explained(self.directory):
            shutil.rmtree(self._staging, ignore_errors=True)
            files.make_directory(self._staging)
            for left in self._staging.parent.glob(f"{TEMPORARY_PREFIX}*"):
                left.unlink(missing_ok=True)
            # First of all that is not hidden: without it, what is here is taken for another's.
            about = self.directory / CACHE_INFO
            if not about.exists():
                self.mending.write_cache_info()
                files.sync_directory(self.directory)
            for directory in (self.directory / NARS, self.directory / GENERATIONS):
                files.make_directory(directory)
            # So that also a server that may not write here can lock it.
            files.make_file(self.directory / SERVING)
        if self._signing_key is not None:
            self.signatures.record_key(self._signing_key.public)

    def _settle(self) -> None:
        """Sync the directories, so that everything published so far is durable."""
        with files.explained(self.directory):
            for directory in (self.directory / NARS, self.directory):
                files.sync_directory(directory)
            self._checksums.record()


def _nobody(error: DestinationError) -> None:
    """Ignore a manifest that cannot be read: a repair reports it."""
