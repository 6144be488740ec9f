"""Which NARs of a cache directory are known to be what they were: ``.prefetch/contents``.

Nix notices that a NAR is damaged only when it reads it, so a claim that a NAR can be used takes
having read it. Reading all of them each time would take as long as copying them. So for each NAR
that was written or read here, this file records its SHA-256 and what identifies the file: inode,
size, and the times of its last change in nanoseconds. While these are the same, so is the content,
unless the disk silently loses data; ``prefetch verify`` reads everything again. ::

    # <inode of the directory nar> sha256:<digest of that and of all that follows>
    <SHA-256, base 16> <inode> <size> <mtime> <ctime> <file name in nar/>

A record that was copied with its directory does not apply there, because the inodes differ. The
record only saves time: if it is missing or damaged, the NARs are read. Blocking, for use off the
event loop.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from typing import TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.cache.layout import CONTENTS, NARS
from mirror.system.plain_files import open_plain_file

if TYPE_CHECKING:
    from pathlib import Path

TEMPORARY_PREFIX: Final = "contents-tmp"
"""Of the names that it has before it is whole."""

_READ_SIZE: Final = 1 << 20
_HEADER: Final = re.compile(rb"# ([0-9]+) sha256:([0-9a-f]{64})\n")
_LINE: Final = re.compile(
    r"(?P<digest>[0-9a-f]{64}) (?P<identity>[0-9]+ [0-9]+ -?[0-9]+ -?[0-9]+) (?P<name>[^/]+)"
)


class Contents:
    """The record of the cache ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._nars = directory / NARS
        self._known: dict[str, tuple[str, str]] | None = None
        """By file name the identity and the digest."""
        self._is_changed = False

    def digest(self, name: str, status: os.stat_result) -> str | None:
        """The SHA-256 (base 16) of a NAR's file, if it is known and the file is still the same."""
        known = self._load().get(name)
        return known[1] if known is not None and known[0] == _identity(status) else None

    def knows(self, name: str) -> bool:
        """Whether a file of that name was read, be it before it changed."""
        return name in self._load()

    def note(self, name: str, digest: str) -> None:
        """Remember what a NAR's file that has just been written and named has.

        Raises:
            OSError: it cannot be looked at.

        """
        status = os.stat(self._nars / name)  # noqa: PTH116 - as everywhere here
        self._load()[name] = _identity(status), digest
        self._is_changed = True

    def read(self, name: str) -> None:
        """Read a NAR's file and record its hash; nothing if it cannot be read."""
        with contextlib.suppress(OSError):
            before = _identity(os.stat(self._nars / name))  # noqa: PTH116 - as everywhere here
            digest = _digest(self._nars / name)
            if _identity(os.stat(self._nars / name)) == before:  # noqa: PTH116 - as everywhere here
                self._load()[name] = before, digest
                self._is_changed = True

    def write(self, temporaries: Path) -> None:
        """Write the record if there is anything new; if that fails, nothing is recorded.

        ``temporaries`` is on the same file system.
        """
        if not self._is_changed:
            return
        with contextlib.suppress(OSError):
            there = set(os.listdir(self._nars))  # noqa: PTH208 - names alone
            body = "".join(
                f"{digest} {identity} {name}\n"
                for name, (identity, digest) in sorted(self._load().items())
                if name in there and digest
            ).encode(errors="surrogateescape")
            inode = str(_inode(self._nars))
            header = f"# {inode} sha256:{_seal(inode.encode(), body)}\n".encode()
            files.replace_file(
                self._directory / CONTENTS,
                header + body,
                temporaries=temporaries,
                prefix=TEMPORARY_PREFIX,
            )
            self._is_changed = False

    def _load(self) -> dict[str, tuple[str, str]]:
        if self._known is None:
            self._known = {}
            with contextlib.suppress(OSError):
                self._known = _parse(
                    files.read_plain_file(self._directory / CONTENTS), _inode(self._nars)
                )
        return self._known


def is_sealed(data: bytes) -> bool:
    """Whether a record's own checksum matches."""
    header = _HEADER.match(data)
    return header is not None and _seal(header[1], data[header.end() :]) == header[2].decode()


def _seal(inode: bytes, body: bytes) -> str:
    return hashlib.sha256(inode + b"\n" + body).hexdigest()


def _digest(file: Path) -> str:
    """The SHA-256 of a file, in base 16; empty where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open_plain_file(file) as stream:
            while chunk := stream.read(_READ_SIZE):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()


def _parse(data: bytes, inode: int) -> dict[str, tuple[str, str]]:
    header = _HEADER.match(data)
    if header is None or int(header[1]) != inode or not is_sealed(data):
        return {}
    body = data[header.end() :]
    found = map(_LINE.fullmatch, body.decode(errors="surrogateescape").split("\n"))
    return {each["name"]: (each["identity"], each["digest"]) for each in found if each}


def _identity(status: os.stat_result) -> str:
    """The identity of a file, which differs for another file and after a change."""
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _inode(directory: Path) -> int:
    return os.stat(directory).st_ino  # noqa: PTH116 - as everywhere here
