"""Repairs of a cache directory that need no source, and the quarantine for damaged files.

A damaged file that nobody can provide again is *quarantined*: renamed to ``.prefetch/damaged/``,
where its owner may look at it. Readers of the cache no longer get it. A sync sees that the path is
missing, and fetches it once somebody has it again; the repair after that removes the quarantined
copy. The caller holds the directory's lock. Blocking, for use off the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.cache.at_rest.small_files import names
from mirror.destinations.cache.layout import CACHE_INFO, DAMAGED, NARINFO_SUFFIX, NARS
from mirror.formats.cache_info import CacheInfo, print_cache_info

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.destinations.cache.checksums import Checksums

PRIORITY: Final = 30
"""Before https://cache.nixos.org, whose priority is 40."""

_CACHE_INFO: Final = CacheInfo(want_mass_query=True, priority=PRIORITY)


class Mending:
    """The mending of the cache ``directory``; ``temporaries`` is on the same file system."""

    def __init__(self, directory: Path, *, temporaries: Path, checksums: Checksums) -> None:
        self._directory = directory
        self._temporaries = temporaries
        self._checksums = checksums

    def write_cache_info(self) -> None:
        """Write ``nix-cache-info`` as a new cache has it.

        Raises:
            OSError: it cannot be written.

        """
        data = print_cache_info(_CACHE_INFO)
        self._checksums.announce([(CACHE_INFO, data)])
        file = self._directory / CACHE_INFO
        files.replace_file(file, data, temporaries=self._temporaries)

    def remove(self, file: str) -> None:
        """Remove a file that nothing needs.

        Raises:
            OSError: it cannot be removed.

        """
        (self._directory / file).unlink(missing_ok=True)

    def empty(self, file: str) -> None:
        """Empty a file, which somebody may have locked.

        Raises:
            OSError: it cannot be written.

        """
        with (self._directory / file).open("r+b") as stream:
            stream.truncate(0)

    def set_aside(self, file: str) -> str | None:
        """Quarantine a file; returns its new place, None if there was no such file.

        Raises:
            OSError: it cannot be renamed.

        """
        place = f"{DAMAGED}/{file.rpartition('/')[2]}"
        files.make_directory(self._directory / DAMAGED)
        try:
            (self._directory / file).replace(self._directory / place)
        except FileNotFoundError:
            return None
        return place

    def settle(self) -> None:
        """Sync what was repaired, record checksums, remove what is no longer quarantined.

        Raises:
            OSError: something cannot be written, or read.

        """
        # First where things were taken to, so that none is lost between two directories.
        for directory in (self._directory / DAMAGED, self._directory / NARS, self._directory):
            if directory.is_dir():
                files.sync_directory(directory)
        self._checksums.record()
        for name in names(self._directory / DAMAGED):
            place = "" if name.endswith(NARINFO_SUFFIX) else NARS
            if (self._directory / place / name).exists():
                (self._directory / DAMAGED / name).unlink()
