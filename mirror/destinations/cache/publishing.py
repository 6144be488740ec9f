"""Giving staged NARs and their narinfos the names by which readers of a cache find them.

**Why a reader sees only complete closures, at any instant.** A path exists for readers once its
narinfo has its name. A commit refuses a path until all of its references are there or before it in
the batch, gives the NARs their names, and then the narinfos, in the batch's order. Names are given
by rename alone, so a killed run leaves nothing half-written outside of ``.prefetch/staging``.

A power failure may also undo renames and lose unwritten content. Content is made durable (fsync)
before each rename, so no name can stand for a file that is empty or cut short. Directories are
synced only in :meth:`CacheDirectory.keep`, ``nar`` first and the manifest's own last; until then
the renames are in the file system's journal, which keeps their order: a later one never lasts
without the earlier (ext4, XFS, btrfs). Where a file system promises less, the worst case is a
narinfo without its NAR or without its references', outside of any kept generation; the next run
sees by :meth:`CacheDirectory.held` what is lacking. The price of it, on ext4: 1,000 small paths
take 1.1 s with eight commits at once, and 0.2 s without any fsync.

Blocking, for use off the event loop; who publishes holds the directory's lock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.destinations import files
from mirror.destinations.cache.layout import nar_name, narinfo_name
from mirror.errors import DestinationError
from mirror.formats.narinfo import print_narinfo
from mirror.formats.signing import fingerprint

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from mirror.destinations.cache.checksums import Checksums
    from mirror.destinations.cache.looking.contents import Contents
    from mirror.destinations.cache.looking.lookup import Lookup
    from mirror.destinations.cache.private_files import Restricting
    from mirror.destinations.cache.staging import CacheStaging, StagedNar
    from mirror.destinations.flushing import Flusher
    from mirror.formats.signing import SecretKey
    from mirror.formats.store_path import StorePath
    from mirror.formats.verifier import VerifiedPath


class Publishing:
    """The publishing of paths in the cache ``directory``.

    ``private`` are the paths that nobody but the owner may read. ``to_mend``: a path is published
    also if what it refers to is damaged.
    """

    def __init__(
        self,
        directory: Path,
        *,
        temporaries: Path,
        checksums: Checksums,
        contents: Contents,
        lookup: Lookup,
        restricting: Restricting,
        signing_key: SecretKey | None,
        to_mend: bool,
        flusher: Flusher,
    ) -> None:
        self.private: Collection[StorePath] = frozenset()
        self._directory = directory
        self._temporaries = temporaries
        self._checksums = checksums
        self._contents = contents
        self._lookup = lookup
        self._restricting = restricting
        self._signing_key = signing_key
        self._to_mend = to_mend
        self._flusher = flusher

    def mode(self, path: StorePath) -> int:
        """The mode of a path's files."""
        return files.PRIVATE_MODE if path in self.private else files.FILE_MODE

    def commit(self, batch: Sequence[tuple[CacheStaging, VerifiedPath]]) -> None:
        """Publish what is staged; where a NAR or a narinfo cannot be written, those before it.

        Where the disk fails in between, none of them: their NARs may have names, which no reader
        looks for, and the next run obtains the paths again.

        Raises:
            DestinationError: a path that one refers to is not there, or the disk does not take it.

        """
        finished: list[StagedNar] = []
        try:
            for staging, verified in batch:
                finished.append(staging.finish(verified))
        except DestinationError:
            for staging, _ in batch[len(finished) :]:
                staging.discard()  # which makes room for the narinfos of the others
            self._publish(finished)
            raise
        self._publish(finished)

    def _publish(self, batch: Sequence[StagedNar]) -> None:
        """Give NARs their names, and then their narinfos: a reader of a narinfo finds the NAR.

        What one refers to is there, or is before it in the batch.

        Raises:
            DestinationError: a path that one refers to is not there, or a name cannot be given.

        """
        if not batch:
            return
        self._see_references(batch)
        with files.explained(self._directory):
            self._flusher.flush([each.descriptor for each in batch])
            for each in batch:
                self._name(each)
            narinfos = [self._narinfo(each) for each in batch]
            self._checksums.announce((each.path.name, each.data) for each in narinfos)
            published = files.replace_files(
                narinfos, temporaries=self._temporaries, flusher=self._flusher
            )
            for each, _ in zip(batch, published, strict=True):
                each.staging.is_committed = True
                self._lookup.note(each.entry.info.path)

    def _see_references(self, batch: Sequence[StagedNar]) -> None:
        """See that a reader finds what each refers to."""
        before: set[StorePath] = set()
        for each in batch:
            info = each.entry.info
            others = [other for other in info.references if other not in {info.path, *before}]
            missing = self._lookup.missing(others, or_damaged=self._to_mend)
            if missing:
                raise DestinationError(
                    f"{info.path} refers to {min(missing)}, which is not there yet"
                )
            before.add(info.path)

    def _name(self, staged: StagedNar) -> None:
        """Give a NAR, whose content is durable, its name."""
        entry = staged.entry
        if entry.info.path in self.private and self._restricting.is_given(entry.url):
            staged.temporary.chmod(files.FILE_MODE)
        staged.temporary.replace(self._directory / entry.url)
        if entry.file_hash is not None:
            self._contents.note(nar_name(entry.url) or "", entry.file_hash.digest.hex())

    def _narinfo(self, staged: StagedNar) -> files.Written:
        """The narinfo of a NAR, signed if nobody else has."""
        entry = staged.entry
        if staged.made_here and self._signing_key is not None and not entry.info.signatures:
            # The key was recorded when the directory was opened: whose a signature is can be told.
            signature = self._signing_key.sign(fingerprint(entry.info))
            entry = replace(entry, info=replace(entry.info, signatures=(signature,)))
        path = entry.info.path
        file = self._directory / narinfo_name(path)
        return files.Written(file, print_narinfo(entry), self.mode(path))
