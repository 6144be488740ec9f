"""A binary cache directory as a destination: what stock Nix reads as ``file://`` or over http.

::

    nix-cache-info
    <hash part>.narinfo                 what the cache holds
    nar/<file hash>.nar[.<ext>]         the NARs, as upstream compressed them
    generations/<target>/<number>.json  manifests
    receipts/<target>.json              what rehearsals came to
    runs/<target>.json                  what the last syncs came to
    public-keys                         the keys that signed here, the newest last
    .prefetch/checksums                 what narinfos and the like were: :mod:`.checksums`
    .prefetch/contents                  which NARs were read, and had what: :mod:`.contents`
    .prefetch/lock, .prefetch/staging/  one run's; what a killed run left there is removed
    .prefetch/serving                   locked, shared, by each server of the directory
    .prefetch/served                    changed when a server was last seen: :mod:`.served`
    .prefetch/retired/                  narinfos on their way out: :mod:`.sweep`

What is private is in files that their owner alone can read (:mod:`.private_files`).

What was compressed upstream is kept byte for byte, with upstream's signatures and no other. What
was made here (:attr:`Claim.made_here`) is compressed with zstd, and signed if there is a key.

**Why a reader sees only complete closures, at any instant.** A path exists for readers once its
narinfo has its name. A commit refuses a path until all of its references are there, gives the NAR
its name, and then the narinfo. Names are given by rename alone, so a killed run leaves nothing
half-written outside of ``.prefetch/staging``.

A power failure may also undo renames and lose unwritten content. Content is made durable (fsync)
before each rename, so no name can stand for a file that is empty or cut short. Directories are
synced only in :meth:`CacheDirectory.keep`, ``nar`` first and the manifest's own last; until then
the renames are in the file system's journal, which keeps their order: a later one never lasts
without the earlier (ext4, XFS, btrfs). Where a file system promises less, the worst case is a
narinfo without its NAR or without its references', outside of any kept generation; the next run
sees by :meth:`CacheDirectory.held` what is lacking. The price of it, on ext4: 1,000 small paths
take 1.1 s with eight commits at once, and 0.2 s without any fsync.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, Self

from mirror.destinations import files
from mirror.destinations.cache.checksums import CHECKSUMS, Checksums
from mirror.destinations.cache.contents import TEMPORARY_PREFIX, Contents
from mirror.destinations.cache.inspection import Inspection, Unread
from mirror.destinations.cache.mending import Mending
from mirror.destinations.cache.private_files import Restricting
from mirror.destinations.cache.served import SERVING
from mirror.destinations.cache.signatures import Signatures, read_public_keys
from mirror.destinations.cache.staging import CacheStaging, StagedNar
from mirror.destinations.cache.sweep import RETIRED
from mirror.destinations.free_space import Room, room_at
from mirror.destinations.records import documents
from mirror.destinations.records.generation import MANIFEST
from mirror.destinations.records.privacy import holdings, private_paths
from mirror.destinations.records.receipt import receipts_in
from mirror.destinations.records.run_record import run_records_in
from mirror.destinations.records.vouched import recorded_keys
from mirror.errors import DestinationError, FormatError
from mirror.formats import cache_info
from mirror.formats.cache_info import parse_cache_info
from mirror.formats.narinfo import print_narinfo
from mirror.formats.signing import PublicKey, TrustedKeys, fingerprint
from mirror.planning.presence import Flaw, Found, whole
from mirror.system.allocation import without_collections
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping
    from pathlib import Path

    from mirror.destinations.records.documents import Told
    from mirror.destinations.records.generation import Generation
    from mirror.destinations.records.receipt import Receipt
    from mirror.destinations.records.run_record import RunRecord
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import SecretKey
    from mirror.formats.store_path import StorePath
    from mirror.formats.verifier import Claim

_MANY: Final = 1_000
_READINGS: Final = 3
"""How often a NAR is read whose file changes meanwhile."""


class CacheDirectory:
    """A binary cache directory; :meth:`open` makes one."""

    keeps: Literal["compressed", "nar"] = "compressed"
    is_for_others = True

    def __init__(self, path: Path, *, signing_key: SecretKey | None = None) -> None:
        self.path = path.absolute()
        self._signing_key = signing_key
        self._staging = self.path / ".prefetch/staging"
        self._generations = self.path / "generations"
        self._receipts = receipts_in(self.path / "receipts")
        self._runs = run_records_in(self.path / "runs")
        self._checksums = Checksums(
            self.path, temporaries=self._staging, retired=self.path / RETIRED
        )
        self._contents = Contents(self.path)
        self._inspection = Inspection(self.path, self._contents, keys=self._keys)
        self._reads_contents = False
        self._to_mend = False
        self._trusted: tuple[PublicKey, ...] = ()
        self._known: set[StorePath] = set()
        self._private: frozenset[StorePath] = frozenset()

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
        (:mod:`.contents`).

        Raises:
            LockedError: another run holds the lock.
            DestinationError: the directory cannot be used, or is something else.

        """
        cache = cls(path, signing_key=signing_key)
        cache._reads_contents = reads_contents
        cache._to_mend = to_mend
        with contextlib.ExitStack() as stack:
            if not to_mend:
                await asyncio.to_thread(refuse_other_directories, cache.path)
            if exclusive:
                await asyncio.to_thread(_refuse_links, cache.path)
                lock = files.locked(cache.path / ".prefetch/lock", f"the cache {cache.path}")
                stack.enter_context(lock)
                await in_thread(cache._prepare)
                if to_mend:
                    cache._private = private_paths(holdings(await cache.generations(_nobody)))
                stack.callback(shutil.rmtree, cache._staging, ignore_errors=True)
            if exclusive:
                stack.callback(cache._contents.write, cache._staging)
            elif remembers:
                stack.callback(cache._contents.write, cache.path / ".prefetch")
            yield cache

    @property
    def name(self) -> str:
        """The directory."""
        return str(self.path)

    @property
    def is_made(self) -> bool:
        """Whether it is a binary cache already, be it one that lost its ``nix-cache-info``.

        Raises:
            DestinationError: it cannot be looked at.

        """
        with files.explained(self.path):
            return any((self.path / name).is_file() for name in (cache_info.FILE_NAME, CHECKSUMS))

    @property
    def signatures(self) -> Signatures:
        """The mirror's own signatures in it."""
        return Signatures(self.path, temporaries=self._staging, checksums=self._checksums)

    async def signers(self) -> tuple[PublicKey, ...]:
        """The keys of ``public-keys``."""
        return tuple(await asyncio.to_thread(read_public_keys, self.path))

    async def sign(self, paths: Collection[StorePath]) -> bool:
        """Sign paths with the mirror's key, if there is one."""
        if self._signing_key is None:
            return False
        await in_thread(self.signatures.add_to, self._signing_key, paths)
        return True

    async def room(self) -> Room:
        """Look how much more there is room for."""
        return await asyncio.to_thread(room_at, self.path)

    @property
    def mending(self) -> Mending:
        """What it takes to mend it without any source."""
        return Mending(self.path, temporaries=self._staging, checksums=self._checksums)

    @property
    def _restricting(self) -> Restricting:
        return Restricting(self.path, self._staging)

    async def protect(self, paths: Collection[StorePath]) -> bool:  # noqa: ARG002 - as said
        """Do nothing: only a run that holds the lock removes anything."""
        return False

    async def held(self, paths: Collection[StorePath]) -> Mapping[StorePath, PathInfo]:
        """Those of ``paths`` that Nix could take from here if it had what they refer to."""
        return whole(await self.look_up(paths))

    async def look_up(self, paths: Collection[StorePath]) -> Mapping[StorePath, Found]:
        """What there is of ``paths``; where NARs have to be read for that, they are."""
        found, unread = await in_thread(self._look_up, paths, reads=self._reads_contents)
        if not unread:
            return found
        for _ in range(_READINGS):
            for name in sorted({each.name for each in unread.values()}):
                await in_thread(self._contents.read, name)
            known, unread = await in_thread(
                self._look_up, unread.keys(), reads=self._reads_contents
            )
            found |= known
            if not unread:
                return found
        for path, each in unread.items():
            problem = "it changes while it is read"
            found[path] = Found(flaw=Flaw(file=f"nar/{each.name}", problem=problem, is_fatal=True))
        return found

    def look_as(self, *, trusted_keys: Iterable[str], detects_compression: bool) -> None:
        """Look at what was altered as a client's Nix does.

        Signatures of ``trusted_keys``, too, count for it; ``detects_compression``: it does not
        matter what a narinfo says of its NAR's compression.
        """
        self._inspection.detects_compression = detects_compression
        for text in trusted_keys:
            with contextlib.suppress(FormatError):  # Nix itself says what is wrong with it
                self._trusted = (*self._trusted, PublicKey.parse(text))

    async def restrict(self, private: Collection[StorePath], given: Collection[StorePath]) -> bool:
        """Let nobody else read ``private`` paths, also those yet to come; all ``given`` ones."""
        self._private = frozenset(private)
        with files.explained(self.path):
            return await in_thread(self._restricting.restrict, private, given)

    async def hidden(self, private: Collection[StorePath]) -> Collection[StorePath]:
        """Those of ``private`` paths that are there, and that this user may not read."""
        with files.explained(self.path):
            return await in_thread(self._restricting.hidden, private)

    @contextlib.asynccontextmanager
    async def stage(self, claim: Claim) -> AsyncIterator[CacheStaging]:
        """Make room for a path, as it arrives."""
        is_private = claim.info.path in self._private
        staging = CacheStaging(
            claim,
            temporaries=self._staging,
            publish=self._publish,
            mode=files.PRIVATE_MODE if is_private else files.FILE_MODE,
        )
        try:
            yield staging
        finally:
            staging.discard()

    async def keep(self, generation: Generation) -> None:
        """Write the generation's manifest, once everything before it is durable.

        Raises:
            DestinationError: a path of it is not held, or the manifest cannot be written.

        """
        missing = set(generation.paths) - set(await self.held(generation.paths))
        if missing:
            raise DestinationError(
                f"{len(missing)} paths of {generation.target} are not in {self.path}, "
                f"{min(missing)} for one"
            )
        await in_thread(self._write_manifest, generation)

    async def generations(self, unreadable: Told | None = None) -> list[Generation]:
        """Every generation kept, by target and number.

        Raises:
            DestinationError: a manifest cannot be read, and there is no ``unreadable`` to be told.

        """
        return await asyncio.to_thread(self._read_manifests, unreadable)

    async def forget(self, generation: Generation) -> None:
        """Remove the generation's manifest; its paths stay."""
        await in_thread(self._remove_manifest, generation)

    async def record(self, receipt: Receipt) -> None:
        """Write a receipt; it takes no lock."""
        await in_thread(self._receipts.write, receipt)

    async def receipts(self, unreadable: Told | None = None) -> list[Receipt]:
        """The receipt of each target that was rehearsed."""
        return await asyncio.to_thread(self._receipts.read, unreadable)

    async def record_run(self, record: RunRecord) -> None:
        """Write a run record; it takes no lock."""
        await in_thread(self._runs.write, record)

    async def run_records(self, unreadable: Told | None = None) -> list[RunRecord]:
        """The run record of each target that was synced, or was to be."""
        return await asyncio.to_thread(self._runs.read, unreadable)

    def _prepare(self) -> None:
        with files.explained(self.path):
            shutil.rmtree(self._staging, ignore_errors=True)
            files.make_directory(self._staging)
            for left in self._staging.parent.glob(f"{TEMPORARY_PREFIX}*"):
                left.unlink(missing_ok=True)
            # First of all that is not hidden: without it, what is here is taken for another's.
            about = self.path / cache_info.FILE_NAME
            if not about.exists():
                self.mending.write_cache_info()
                files.sync_directory(self.path)
            for directory in (self.path / "nar", self._generations):
                files.make_directory(directory)
            # So that also a server that may not write here can lock it.
            files.make_file(self.path / SERVING)
        if self._signing_key is not None:
            self.signatures.record_key(self._signing_key.public)

    def _look_up(
        self, paths: Collection[StorePath], *, reads: bool
    ) -> tuple[dict[StorePath, Found], dict[StorePath, Unread]]:
        """What there is of ``paths``, and those of them whose NARs have to be read first."""
        is_much = len(paths) > _MANY
        found: dict[StorePath, Found] = {}
        unread: dict[StorePath, Unread] = {}
        with (
            files.explained(self.path),
            without_collections() if is_much else contextlib.nullcontext(),
        ):
            if is_much:
                # Most of a graph may well be absent, which the directory's listing says at once.
                names = set(os.listdir(self.path)) if self.path.is_dir() else frozenset()  # noqa: PTH208 - as below
                paths = [path for path in paths if f"{path.hash_part}.narinfo" in names]
            self._inspection.refresh()
            for path in paths:
                looked = self._inspection.look(path, reads=reads)
                if isinstance(looked, Unread):
                    unread[path] = looked
                elif looked is not None:
                    found[path] = looked
        self._known.update(whole(found))
        return found, unread

    def _keys(self) -> TrustedKeys:
        """The keys that count here: those of who asks, of this cache, and that vouched for it."""
        own: list[PublicKey] = []
        with contextlib.suppress(DestinationError):  # `verify` says what is wrong with it
            own = read_public_keys(self.path)
        return TrustedKeys([*own, *recorded_keys(self._read_manifests(_nobody)), *self._trusted])

    def _missing(self, paths: Iterable[StorePath]) -> set[StorePath]:
        unknown = set(paths) - self._known
        found, unread = self._look_up(unknown, reads=False)
        there = whole(found).keys() | unread.keys()
        if self._to_mend:
            # What refers to something that stays damaged is mended all the same.
            there |= {path for path, each in found.items() if each.info is not None}
        return unknown - there

    def _publish(self, staged: StagedNar) -> None:
        """Give a NAR and then its narinfo their names. The order is the promise: see above."""
        entry = staged.entry
        path = entry.info.path
        missing = self._missing(other for other in entry.info.references if other != path)
        if missing:
            raise DestinationError(f"{path} refers to {min(missing)}, which is not there yet")
        if staged.made_here and self._signing_key is not None and not entry.info.signatures:
            # Recorded already, in _prepare: whose a signature is can always be told.
            signature = self._signing_key.sign(fingerprint(entry.info))
            entry = replace(entry, info=replace(entry.info, signatures=(signature,)))
        with files.explained(self.path):
            is_private = path in self._private
            if is_private and self._restricting.is_given(entry.url):
                staged.temporary.chmod(files.FILE_MODE)
            staged.temporary.replace(self.path / entry.url)
            if entry.file_hash is not None:
                self._contents.note(entry.url.rpartition("/")[2], entry.file_hash.digest.hex())
            name, data = f"{path.hash_part}.narinfo", print_narinfo(entry)
            self._checksums.announce([(name, data)])
            mode = files.PRIVATE_MODE if is_private else files.FILE_MODE
            files.replace_file(self.path / name, data, temporaries=self._staging, mode=mode)
        self._known.add(path)

    def _manifest_path(self, generation: Generation) -> Path:
        directory = self._generations / documents.file_name(generation.target)
        return directory / f"{generation.number}.json"

    def _write_manifest(self, generation: Generation) -> None:
        path = self._manifest_path(generation)
        with files.explained(path):
            for directory in (self.path / "nar", self.path):
                files.sync_directory(directory)
            self._checksums.record()
            files.make_directory(path.parent)
            files.replace_file(path, MANIFEST.render(generation), temporaries=self._staging)
            files.sync_directory(path.parent)

    def _read_manifests(self, unreadable: Told | None) -> list[Generation]:
        hint = "remove the file, and sync again: that makes a new generation"
        found = [
            generation
            for directory in documents.entries(self._generations, unreadable)
            if directory.is_dir()
            for generation in documents.read_all(directory, MANIFEST, unreadable, hint=hint)
        ]
        return sorted(found, key=lambda generation: (generation.target, generation.number))

    def _remove_manifest(self, generation: Generation) -> None:
        path = self._manifest_path(generation)
        with files.explained(path):
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                files.sync_directory(path.parent)
                with contextlib.suppress(OSError):  # the target has other generations
                    path.parent.rmdir()


def _nobody(error: DestinationError) -> None:
    """Tell nobody of a manifest that cannot be read: a repair does."""


def refuse_other_directories(path: Path) -> None:
    """Keep a slip of the finger from filling someone's home directory with narinfo files.

    One that has a record of checksums is a cache, also where its ``nix-cache-info`` was lost.

    Raises:
        DestinationError: there is something that is no cache, or it cannot be looked at.

    """
    with files.explained(path):
        try:
            path.stat()
        except FileNotFoundError:
            return  # whatever else keeps it from being looked at keeps it from being made
        except NotADirectoryError as error:
            file = next(each for each in path.parents if each.exists())
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file)) from error
        about = path / cache_info.FILE_NAME
        if about.is_file():
            try:
                parse_cache_info(files.read_plain_file(about))
            except FormatError as error:
                raise DestinationError(
                    f"{about}: {error.message}",
                    hint="if this is a cache of yours: `prefetch verify --repair` writes it again",
                ) from error
        elif not (path / CHECKSUMS).is_file() and any(
            not entry.name.startswith(".") for entry in path.iterdir()
        ):
            raise DestinationError(
                f"{path} is not empty, and not a binary cache",
                hint="name a directory that is empty, or that does not exist yet",
            )


def _refuse_links(path: Path) -> None:
    """Keep a run, which removes whatever is staged, from what is elsewhere.

    Raises:
        DestinationError: where runs stage is a link.

    """
    with files.explained(path):
        for directory in (path / ".prefetch", path / ".prefetch/staging"):
            if directory.is_symlink():
                raise DestinationError(
                    f"{directory} is a link, and what is in it is removed by every run",
                    hint="remove the link: a directory is made in its place",
                )
