"""Private paths of a cache directory: their files are readable by their owner only.

A *private* path is kept, verified and swept like any other. No web server that runs as another user
can read its narinfo and NAR, and ``prefetch serve`` serves neither a narinfo that not everybody may
read, nor a NAR that only such narinfos name. The caller holds the directory's lock. Blocking, for
use off the event loop.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.destinations import files
from mirror.destinations.cache.layout import nar_file, narinfo_name
from mirror.destinations.cache.narinfo_files import narinfo_files
from mirror.errors import FormatError
from mirror.formats.narinfo import parse_narinfo

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True)
class Restricting:
    """The modes of the cache ``directory``; ``temporaries`` is on the same file system."""

    directory: Path
    temporaries: Path

    def restrict(self, private: Iterable[StorePath], given: Iterable[StorePath]) -> bool:
        """Make existing ``private`` paths readable by their owner only, ``given`` ones by everyone.

        False where the file system does not keep a file from anybody.

        Raises:
            OSError: a file cannot be read or written.

        """
        private = list(private)
        opened = [path for path in given if self._is_readable(path) is False]
        closed = [path for path in private if self._is_readable(path)]
        for path in opened:
            # The NAR first: who is given the narinfo finds it.
            if (nar := self._nar(path)) is not None:
                nar.chmod(files.FILE_MODE)
            self._set_narinfo(path, files.FILE_MODE)
        for path in closed:
            self._set_narinfo(path, files.PRIVATE_MODE)
        # Also of those whose narinfo a run closed that was killed then.
        nars = [nar for path in private if (nar := self._nar(path)) and _all_may(nar)]
        if nars:
            self._close(nars)
        if opened or closed:
            files.sync_directory(self.directory)
        return not any(self._is_readable(path) for path in closed)

    def is_given(self, url: str) -> bool:
        """Whether everybody may read a NAR's file already: it may be another path's, too."""
        return _all_may(self.directory / url)

    def hidden(self, private: Iterable[StorePath]) -> frozenset[StorePath]:
        """Those of ``private`` paths that are there, and whose narinfo this user may not read.

        Raises:
            OSError: the directory cannot be looked at.

        """
        there = (path for path in private if self._is_readable(path) is not None)
        return frozenset(path for path in there if not _may_read(self._narinfo(path)))

    def _narinfo(self, path: StorePath) -> Path:
        return self.directory / narinfo_name(path)

    def _is_readable(self, path: StorePath) -> bool | None:
        """Whether everybody may read the path's narinfo; None if there is none."""
        try:
            # As text: of a large system there are thousands.
            mode = os.stat(f"{self.directory}/{narinfo_name(path)}").st_mode  # noqa: PTH116
        except FileNotFoundError:
            return None
        return bool(mode & stat.S_IROTH)

    def _set_narinfo(self, path: StorePath, mode: int) -> None:
        """Replace a narinfo, so that readers notice a change of the directory."""
        file = self._narinfo(path)
        data = files.read_plain_file(file)
        files.replace_file(file, data, temporaries=self.temporaries, mode=mode)

    def _nar(self, path: StorePath) -> Path | None:
        """The file of a path's NAR, if it is there."""
        try:
            narinfo = parse_narinfo(files.read_plain_file(self._narinfo(path)))
            nar = self.directory / nar_file(narinfo)
        except (FileNotFoundError, FormatError):
            return None  # what is damaged, a repair has again
        return nar if nar.is_file() else None

    def _close(self, nars: Iterable[Path]) -> None:
        """Make NARs private that no public narinfo names."""
        given = {
            self.directory / each.url
            for each in narinfo_files(self.directory).values()
            if each.url is not None and _all_may(each.file)
        }
        for nar in nars:
            if nar not in given:
                # Where files have fixed modes that is not possible.
                with contextlib.suppress(PermissionError):
                    nar.chmod(files.PRIVATE_MODE)


def _all_may(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except FileNotFoundError:
        return False


def _may_read(file: Path) -> bool:
    return os.access(file, os.R_OK, effective_ids=True)
