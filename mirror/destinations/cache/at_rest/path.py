"""One path of a cache directory at rest: its narinfo and its NAR, read again to the last byte.

The narinfo is compared with the record (:mod:`..checksums`), and then the NAR with the narinfo by
the verifier that let it in, which decompresses and parses it. Blocking, for use off the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.cache.layout import nar_file, narinfo_name
from mirror.destinations.verified import Damage
from mirror.errors import FormatError, IntegrityError
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.verifier import Claim, NarVerifier
from mirror.system.plain_files import open_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.destinations.cache.checksums import Recorded
    from mirror.formats.narinfo import NarInfo

READ_SIZE: Final = 1 << 20
"""How much is read at once, in bytes."""


class PathAtRest:
    """A narinfo file, ``file`` below the cache ``directory``, and the NAR that it names.

    After :meth:`check`, ``entry`` is what it says, None if that cannot be read; ``nar`` is the file
    of its NAR, None where that is not sure; ``damages`` are what is wrong; ``is_unproven``: the
    record has nothing on it. Of a narinfo that is not there any more there is nothing to say.
    """

    def __init__(self, directory: Path, file: str, recorded: Recorded) -> None:
        self.file = file
        self.entry: NarInfo | None = None
        self.nar: str | None = None
        self.damages: list[Damage] = []
        self.is_unproven = False
        self._directory = directory
        self._recorded = recorded

    def check(self) -> Iterator[int]:
        """Read everything; gives how many bytes were read, each time that some were.

        Raises:
            DestinationError: a file of it may not be read.

        """
        with files.explained(self._directory):
            yield from self._check()

    def _check(self) -> Iterator[int]:
        name = self.file.rpartition("/")[2]
        try:
            data = files.read_plain_file(self._directory / self.file)
        except FileNotFoundError:
            return
        except PermissionError:
            raise
        except OSError as error:
            self._damage(self.file, f"it cannot be read: {error.strerror}", is_unfit=True)
            return
        yield len(data)
        self.is_unproven = self._recorded.knows(name, data) is None
        try:
            self.entry = parse_narinfo(data)
            self._look_at(self.entry, name)
        except FormatError as error:
            self._damage(self.file, error.message, is_unfit=True)
            return
        yield from self._check_nar(self.entry)
        objection = self._recorded.objection(name, data)
        if objection is not None:
            # What it says of its NAR may be what is wrong with it: then the NAR may be right.
            is_unfit = bool(self.damages)
            if is_unfit:
                self.damages.clear()
                self.nar = None
            self._damage(self.file, objection, is_unfit=is_unfit)

    def _look_at(self, entry: NarInfo, name: str) -> None:
        if narinfo_name(entry.info.path) != name:
            raise FormatError(f"it is for {entry.info.path}")
        self.nar = nar_file(entry)

    def _check_nar(self, entry: NarInfo) -> Iterator[int]:
        try:
            verifier = NarVerifier(
                Claim(
                    info=entry.info,
                    compression=entry.compression,
                    file_hash=entry.file_hash,
                    file_size=entry.file_size,
                )
            )
        except IntegrityError as error:
            self._damage(self.file, error.message, is_unfit=True)
            return
        try:
            with open_plain_file(self._directory / entry.url) as stream:
                while chunk := stream.read(READ_SIZE):
                    for _ in verifier.feed(chunk):
                        pass
                    yield len(chunk)
            verifier.finish()
        except FileNotFoundError:
            self._damage(entry.url, f"it is missing, and {self.file} names it", is_unfit=True)
        except PermissionError:
            raise
        except OSError as error:
            self._damage(entry.url, f"it cannot be read: {error.strerror}", is_unfit=True)
        except IntegrityError as error:
            self._damage(entry.url, error.message, is_unfit=True)

    def _damage(self, file: str, problem: str, *, is_unfit: bool = False) -> None:
        self.damages.append(
            Damage(
                file=file,
                problem=problem,
                path=None if self.entry is None else self.entry.info.path,
                narinfo=self.file,
                is_unfit=is_unfit,
            )
        )
