"""A cache directory at rest: what is in it, and whether each file is what was written.

===========================  ======================================================================
file                         what it is compared with
===========================  ======================================================================
``nar/…``                    its narinfo (:mod:`.path`); where none names it, its own name
narinfo                      the record (:mod:`..checksums`), its own name, its NAR
manifest, receipt, record    the digest at its end (:mod:`mirror.destinations.records.documents`)
``nix-cache-info``, keys     the record
the record itself            the checksum in its first line
``.prefetch/serving``        nothing: it is empty; so is the lock, unless a run holds or held it
===========================  ======================================================================

What a narinfo or a manifest names has to be there, and so has the newest generation that a run
record names. What has neither a line of the record nor a digest yet can be read, and that is all
that is known of it: it is *unproven*. What is left in ``staging`` or ``damaged`` is no part of the
cache, and all else is *stray*; neither is damage.

It takes no lock. Beside a run that writes, something can go after it was listed, or come where was
looked already; so what seems damaged is looked at again (:meth:`AtRest.again`). Blocking, for use
off the event loop.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.destinations import files
from mirror.destinations.cache.at_rest.path import READ_SIZE, PathAtRest
from mirror.destinations.cache.at_rest.small_files import SmallFiles, names
from mirror.destinations.cache.checksums import read_checksums
from mirror.destinations.cache.layout import NAR, NARINFO, NARS, RETIRED, narinfo_name
from mirror.destinations.verified import Damage
from mirror.formats import hashes
from mirror.formats.hashes import Hash
from mirror.system.plain_files import open_plain_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All files: narinfos, published and retired, and the files of ``nar`` with their sizes.

    ``kept`` are the paths of the generations, each with the manifest that names it; ``damages`` are
    what is wrong with the small files, of which ``files`` were read, ``bytes`` in all.
    """

    narinfos: tuple[str, ...]
    nars: Mapping[str, int]
    kept: Mapping[StorePath, str]
    damages: tuple[Damage, ...]
    unproven: int
    strays: tuple[str, ...]
    files: int
    bytes: int


class AtRest:
    """The cache ``directory`` and its record of checksums, as they are now."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with files.explained(directory):
            self._recorded = read_checksums(directory)

    def survey(self) -> Survey:
        """List everything, and check all but paths.

        Raises:
            DestinationError: a directory cannot be listed, or a file may not be read.

        """
        small = SmallFiles(self._directory, self._recorded)
        with files.explained(self._directory):
            narinfos = [name for name in names(self._directory) if NARINFO.fullmatch(name)]
            retired = [
                f"{RETIRED}/{name}"
                for name in names(self._directory / RETIRED)
                if NARINFO.fullmatch(name)
            ]
            nars = _sizes(self._directory / NARS)
            small.check()
        return Survey(
            narinfos=(*narinfos, *retired),
            nars=nars,
            kept=small.kept,
            damages=tuple(small.damages),
            unproven=small.unproven,
            strays=tuple(small.strays),
            files=len(small.read),
            bytes=sum(small.read.values()),
        )

    def path(self, file: str) -> PathAtRest:
        """The path of a narinfo, to be checked."""
        return PathAtRest(self._directory, file, self._recorded)

    def missing(self, needed: Mapping[StorePath, str], there: Collection[str]) -> list[Damage]:
        """What is needed by a file and has no narinfo, be it among those known to be ``there``."""
        damages = []
        for path, because in needed.items():
            name = narinfo_name(path)
            if name not in there and not self._is_there(name) and self._is_there(because):
                problem = f"it is missing, and {because} needs {path}"
                damages.append(
                    Damage(file=name, problem=problem, path=path, because=because, is_unfit=True)
                )
        return damages

    def unnamed(self, name: str) -> list[Damage]:
        """Compare a file of ``nar`` that no narinfo names with the hash in its name."""
        file = f"{NARS}/{name}"
        if not NAR.fullmatch(name):
            return []
        digest = hashes.new("sha256")
        problem = "checksum mismatch with its name, and no intact narinfo names it"
        with files.explained(self._directory / file):
            try:
                with open_plain_file(self._directory / file) as stream:
                    while chunk := stream.read(READ_SIZE):
                        digest.update(chunk)
            except FileNotFoundError:
                return []
            except PermissionError:
                raise
            except OSError as error:
                problem = f"it cannot be read: {error.strerror}"
        if Hash("sha256", digest.digest()).base32 == name.partition(".")[0]:
            return []
        return [Damage(file=file, problem=problem, hint="nothing needs it: remove it")]

    def again(self, damage: Damage) -> list[Damage]:
        """Look once more at what seemed damaged, which another run may have just changed.

        Raises:
            DestinationError: it may not be read.

        """
        narinfo = damage.narinfo
        if narinfo is not None:
            path = self.path(narinfo)
            for _ in path.check():
                pass
            return path.damages
        if damage.path is not None and damage.because is not None:
            return self.missing({damage.path: damage.because}, ())
        if damage.file.startswith(f"{NARS}/"):
            return self.unnamed(damage.file.removeprefix(f"{NARS}/"))
        small = SmallFiles(self._directory, self._recorded)
        with files.explained(self._directory):
            small.check()
        return [each for each in small.damages if each.file == damage.file]

    def _is_there(self, file: str) -> bool:
        places = [self._directory / file]
        if NARINFO.fullmatch(file):
            places.append(self._directory / RETIRED / file)
        return any(os.path.lexists(place) for place in places)


def _sizes(directory: Path) -> dict[str, int]:
    """The files of a directory, which may be missing, with their sizes in bytes."""
    try:
        with os.scandir(directory) as entries:
            return {each.name: each.stat(follow_symlinks=False).st_size for each in entries}
    except FileNotFoundError:
        return {}
