"""Giving staged NARs and their narinfos the names by which readers of a cache find them.

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
    from collections.abc import Collection
    from pathlib import Path

    from mirror.destinations.cache.checksums import Checksums
    from mirror.destinations.cache.contents import Contents
    from mirror.destinations.cache.lookup import Lookup
    from mirror.destinations.cache.private_files import Restricting
    from mirror.destinations.cache.staging import StagedNar
    from mirror.formats.signing import SecretKey
    from mirror.formats.store_path import StorePath


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

    def mode(self, path: StorePath) -> int:
        """The mode of a path's files."""
        return files.PRIVATE_MODE if path in self.private else files.FILE_MODE

    def publish(self, staged: StagedNar) -> None:
        """Give a NAR its name, and then its narinfo: a reader of the narinfo finds the NAR.

        Raises:
            DestinationError: a path that it refers to is not there, or a name cannot be given.

        """
        entry = staged.entry
        path = entry.info.path
        others = [other for other in entry.info.references if other != path]
        missing = self._lookup.missing(others, or_damaged=self._to_mend)
        if missing:
            raise DestinationError(f"{path} refers to {min(missing)}, which is not there yet")
        if staged.made_here and self._signing_key is not None and not entry.info.signatures:
            # The key was recorded when the directory was opened: whose a signature is can be told.
            signature = self._signing_key.sign(fingerprint(entry.info))
            entry = replace(entry, info=replace(entry.info, signatures=(signature,)))
        with files.explained(self._directory):
            if path in self.private and self._restricting.is_given(entry.url):
                staged.temporary.chmod(files.FILE_MODE)
            staged.temporary.replace(self._directory / entry.url)
            if entry.file_hash is not None:
                self._contents.note(nar_name(entry.url) or "", entry.file_hash.digest.hex())
            name, data = narinfo_name(path), print_narinfo(entry)
            self._checksums.announce([(name, data)])
            file = self._directory / name
            files.replace_file(file, data, temporaries=self._temporaries, mode=self.mode(path))
        self._lookup.note(path)
