"""What a client's Nix gets of one path of a cache directory, found out without Nix.

It is told from what Nix tolerates (a wrong ``FileSize``, bytes that follow the NAR) what makes it
go on as if the path were absent (no NAR, no signature that counts) and what makes it fail (a
narinfo that cannot be read, a NAR that is not what was signed). The tests compare each with real
Nix. Blocking, for use off the event loop.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.cache.checksums import Recorded, read_checksums
from mirror.destinations.cache.layout import CHECKSUMS, NARS, nar_name, narinfo_name
from mirror.errors import FormatError
from mirror.formats.compression import decompressor
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo, signatures_as_written
from mirror.formats.verifier import matching_content_address
from mirror.planning.presence import Flaw, Found
from mirror.system.plain_files import open_plain_file, open_to_read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mirror.destinations.cache.looking.contents import Contents
    from mirror.formats.narinfo import NarInfo
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import TrustedKeys
    from mirror.formats.store_path import StorePath

_READ_SIZE: Final = 1 << 20
_UNDETECTED: Final = frozenset({"none", "br"})
_ANY_METHOD: Final = re.compile(rb"^Compression: (?!(?:none|br)$).*$", re.MULTILINE)
_MAGIC: Final = {
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
}
_LONGEST_MAGIC: Final = max(map(len, _MAGIC))


@dataclass(frozen=True, slots=True)
class Unread:
    """A path whose NAR's file, ``nar/<name>``, has to be read before anything can be said."""

    name: str


@dataclass(frozen=True, slots=True)
class _Narinfo:
    """A narinfo file as it was read; ``is_altered``: it is not what was recorded.

    ``signatures`` are those of one that was altered, as it has them.
    """

    state: tuple[int, ...]
    entry: NarInfo | None
    problem: str | None
    is_altered: bool
    signatures: Sequence[str] = ()


class Inspection:
    """Looks at the paths of the cache ``directory``; of each it remembers what it has read.

    ``keys`` gives those whose signatures count for a narinfo that was altered.
    """

    def __init__(
        self, directory: Path, contents: Contents, *, keys: Callable[[], TrustedKeys]
    ) -> None:
        self.is_old_nix = False
        """Whether the client's Nix reads narinfos as 2.8 does, not as 2.34.

        It goes by what a compressed file is, not by what its narinfo says, and reads no signatures
        but those of keys that it trusts.
        """
        self._find_keys = keys
        self._keys: TrustedKeys | None = None
        self._directory = directory
        self._contents = contents
        self._read: dict[StorePath, _Narinfo] = {}
        self._recorded = Recorded()
        self._recorded_state: tuple[int, ...] | None = None
        self._problems: dict[tuple[object, ...], str | None] = {}
        """Of the NARs that were read whole, each with what told its file from others."""

    def refresh(self) -> None:
        """Read the record of checksums, if it has changed; to be called before looking.

        Raises:
            OSError: it cannot be read.

        """
        self._keys = None
        try:
            state = _state(os.stat(self._directory / CHECKSUMS))  # noqa: PTH116 - as below
        except FileNotFoundError:
            state = None
        if state != self._recorded_state:
            self._recorded = read_checksums(self._directory)
            self._recorded_state = state
            self._read.clear()

    def look(self, path: StorePath, *, reads: bool) -> Found | Unread | None:
        """What there is of a path; None if it is absent.

        ``reads``: say that a NAR has to be read where its content is not known; else that it has
        its size is enough, unless its file was known and has changed.

        Raises:
            PermissionError: a file may not be read.

        """
        file = narinfo_name(path)
        narinfo = self._narinfo(path, file)
        if narinfo is None:
            return None
        entry = narinfo.entry
        if entry is None:
            return _flawed(file, narinfo.problem or "", is_fatal=True)
        if entry.info.path != path:
            return _flawed(file, f"it is for {entry.info.path}", is_fatal=False)
        if narinfo.is_altered and (flawed := self._distrusted(file, narinfo, entry.info)):
            return flawed
        return self._look_at_nar(entry, file, reads=reads, is_altered=narinfo.is_altered)

    def _narinfo(self, path: StorePath, name: str) -> _Narinfo | None:
        # As text: a run looks some thousands of paths up, several times each.
        file = f"{self._directory}/{name}"
        known = self._read.get(path)
        try:
            if known is not None and known.state == _state(os.stat(file)):  # noqa: PTH116
                return known
            descriptor = open_to_read(file)
            try:
                status = os.fstat(descriptor)
                found = self._parse(name, descriptor, status)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return None
        except PermissionError:
            raise
        except OSError as error:
            return _Narinfo((), None, f"it cannot be read: {error.strerror}", True)
        self._read[path] = found
        return found

    def _parse(self, name: str, descriptor: int, status: os.stat_result) -> _Narinfo:
        state = _state(status)
        if not stat.S_ISREG(status.st_mode) or status.st_size > files.LARGEST_READ:
            return _Narinfo(state, None, "it is not a regular file", True)
        data = os.read(descriptor, status.st_size)
        is_altered = self._recorded.problem is None and self._recorded.knows(name, data) is False
        if is_altered and self.is_old_nix:
            data = _ANY_METHOD.sub(b"Compression: xz", data)
        try:
            signatures = signatures_as_written(data) if is_altered else ()
            entry = parse_narinfo(data, as_nix=is_altered)
            return _Narinfo(state, entry, None, is_altered, signatures)
        except FormatError as error:
            return _Narinfo(state, None, error.message, True)

    def _distrusted(self, file: str, narinfo: _Narinfo, info: PathInfo) -> Found | None:
        """Why Nix would refuse the path because of its altered narinfo; None if it would not."""
        # Another thread's refresh may forget them meanwhile.
        keys = self._keys = self._keys or self._find_keys()
        try:
            is_content_addressed = matching_content_address(info) is not None
            problem = None
        except FormatError as error:
            is_content_addressed, problem = False, error.message
        except UnicodeEncodeError:
            # What it refers to has bytes that no name has, so its own does not follow from it.
            is_content_addressed, problem = False, None
        if self.is_old_nix and is_content_addressed:
            return None  # it does not look at signatures then
        try:
            is_signed = keys.verify_as_nix(
                info, narinfo.signatures, reads_every=not self.is_old_nix
            )
        except FormatError as error:
            return _flawed(file, error.message, is_fatal=True)
        if is_signed and problem is not None:
            # Nix believes the signature, and then finds another content, or crashes.
            return _flawed(file, problem, is_fatal=True)
        if is_signed or is_content_addressed:
            return None
        return _flawed(
            file, "checksum mismatch: it has changed since it was written", is_fatal=False
        )

    def _look_at_nar(
        self, entry: NarInfo, narinfo: str, *, reads: bool, is_altered: bool
    ) -> Found | Unread:
        try:
            status = self._nar_status(entry.url)
        except (FileNotFoundError, NotADirectoryError):
            problem = f"it is missing, and {narinfo} names it"
            return _flawed(entry.url, problem, is_fatal=False, info=entry.info)
        except PermissionError:
            raise
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "that cannot be a file name"
            return _flawed(entry.url, f"it cannot be read: {why}", is_fatal=True, info=entry.info)
        name = entry.url.removeprefix(f"{NARS}/")
        if not is_altered and entry.file_size in {None, status.st_size}:
            if self._has_its_content(entry, name, status, reads=reads):
                return Found(info=entry.info)
            if self._contents.digest(name, status) is None and entry.file_hash is not None:
                return Unread(name)
        damage = self._problem(entry, status)
        if damage is None:
            return Found(info=entry.info)
        return _flawed(entry.url, damage, is_fatal=True, info=entry.info)

    def _nar_status(self, url: str) -> os.stat_result:
        """Look at a NAR's file.

        Raises:
            OSError: it is missing, or no regular file of ``nar/``.
            ValueError: its name is no name of a file.

        """
        status = os.stat(f"{self._directory}/{url}")  # noqa: PTH116 - as above
        if nar_name(url) is None or not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file of nar/")
        return status

    def _problem(self, entry: NarInfo, status: os.stat_result) -> str | None:
        """As :func:`_problem`; the file is read once."""
        key = (entry.url, _state(status), entry.info.nar_hash, entry.info.nar_size)
        if key not in self._problems:
            file = self._directory / entry.url
            self._problems[key] = _problem(file, entry, detects=self.is_old_nix)
        return self._problems[key]

    def _has_its_content(
        self, entry: NarInfo, name: str, status: os.stat_result, *, reads: bool
    ) -> bool:
        """Whether a NAR's file is known to have the hash of its narinfo, or may be taken to."""
        digest = self._contents.digest(name, status)
        if digest is None:
            return not reads and not self._contents.knows(name)
        return entry.file_hash == Hash("sha256", bytes.fromhex(digest)) if digest else False


def _flawed(file: str, problem: str, *, is_fatal: bool, info: PathInfo | None = None) -> Found:
    return Found(info=info, flaw=Flaw(file=file, problem=problem, is_fatal=is_fatal))


def _problem(file: Path, entry: NarInfo, *, detects: bool) -> str | None:
    """Why Nix cannot unpack a NAR's file; None if it can. It reads the file.

    ``detects``: its compression is told from its first bytes, if it is not none, or brotli.

    Nix compares the hash of as many bytes as the NAR has, and neither the file's size nor its hash.
    What follows the NAR goes unnoticed without compression; compressed data has to be whole.
    """
    left = entry.info.nar_size
    digest = hashlib.new(entry.info.nar_hash.algorithm)
    is_compressed = entry.compression != "none"
    try:
        with open_plain_file(file) as opened:
            method = entry.compression
            if detects and method not in _UNDETECTED:
                method = _detected(opened.read(_LONGEST_MAGIC))
                opened.seek(0)
            stream = decompressor(method)
            size = os.fstat(opened.fileno()).st_size
            while (left or is_compressed) and (chunk := opened.read(_READ_SIZE)):
                for piece in stream.feed(chunk):
                    digest.update(piece[:left])
                    left -= min(left, len(piece))
        stream.finish()
    except FormatError as error:
        return error.message
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if not left and digest.digest() == entry.info.nar_hash.digest:
        return None
    if entry.file_size not in {None, size}:
        return f"it is {size} bytes long, and was {entry.file_size}"
    return f"NAR hash mismatch: expected {entry.info.nar_hash.sri}"


def _detected(start: bytes) -> str:
    for magic, method in _MAGIC.items():
        if start.startswith(magic):
            return method
    raise FormatError("its compression is not recognized")


def _state(status: os.stat_result) -> tuple[int, ...]:
    """A state that changes when a file is replaced or written to."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
