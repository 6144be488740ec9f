"""Checksums of the small files of a cache directory: ``.prefetch/checksums``.

A narinfo's signature covers neither its ``Deriver`` nor its other signatures, and nothing covers
``nix-cache-info``. A field of our own in the files is no solution, because readers of narinfos that
are written in Go refuse unknown fields. So the checksums are beside them, in lines that ``sha256sum
--check .prefetch/checksums`` reads, too::

    # sha256:<digest of all that follows>
    <SHA-256, base 16>  <file name>

**A line is never wrong, whatever is killed when.** A new file gets its line when a generation is
kept, after its name has been made durable. Before a file that has a line is replaced, the new
content gets a second line, durably, and a file is correct if *one* of its lines matches. Lines of
files that are gone, and outdated lines, are removed when the next generation is kept.

A file without a line comes from a cache that is older than the record, or from an interrupted sync.
Its content is recorded as it is when the next generation is kept. A retired narinfo (:mod:`.sweep`)
is recorded by its former name. Only the holder of the directory's lock writes the record. Blocking,
for use off the event loop.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.cache.layout import CHECKSUMS, RECORDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_HEADER: Final = re.compile(rb"# sha256:([0-9a-f]{64})\n")
_LINE: Final = re.compile(r"([0-9a-f]{64})  (.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The record's content: for each file name the digests, one of which has to match.

    ``problem`` says what is wrong with the record itself, None if it is whole or was never made.
    Whether a line of such a one or its file is wrong cannot be told: both are suspected. So is a
    file of which it says nothing: the name in its line may be what is wrong.
    """

    lines: Mapping[str, frozenset[str]] = field(default_factory=dict)
    problem: str | None = None

    def knows(self, name: str, data: bytes) -> bool | None:
        """Whether a file's content matches the record; None if it has no line."""
        digests = self.lines.get(name)
        return None if digests is None else digest(data) in digests

    def objection(self, name: str, data: bytes) -> str | None:
        """What is wrong with a file's content; None if nothing is."""
        known = self.knows(name, data)
        if known is False:
            return "checksum mismatch: it has changed since it was written"
        if known is None and self.problem is not None:
            return f"its checksum is not known: {CHECKSUMS} is damaged"
        return None


def read_checksums(directory: Path) -> Recorded:
    """Read the record of a cache directory.

    Raises:
        OSError: it cannot be read.

    """
    try:
        data = files.read_plain_file(directory / CHECKSUMS)
    except FileNotFoundError:
        return Recorded()
    header = _HEADER.match(data)
    body = data if header is None else data[header.end() :]
    problem = None
    if header is None or header[1].decode() != digest(body):
        problem = "its own checksum does not match"
    lines: dict[str, set[str]] = {}
    for line in body.decode(errors="replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is not None and RECORDED.fullmatch(found[2]):
            lines.setdefault(found[2], set()).add(found[1])
    return Recorded(
        lines={name: frozenset(digests) for name, digests in lines.items()}, problem=problem
    )


def digest(data: bytes) -> str:
    """The SHA-256 of a file's content, in base 16."""
    return hashlib.sha256(data).hexdigest()


class Checksums:
    """The record of the cache ``directory``, for who holds its lock.

    ``temporaries`` is on the same file system; ``retired`` is the directory of retired narinfos.
    """

    def __init__(self, directory: Path, *, temporaries: Path, retired: Path) -> None:
        self._directory = directory
        self._temporaries = temporaries
        self._retired = retired
        self._turn = threading.Lock()
        self._lines: dict[str, frozenset[str]] | None = None
        self._is_damaged = False
        self._written: dict[str, str] = {}
        """Of the files that this run wrote, what it wrote last."""

    def announce(self, contents: Iterable[tuple[str, bytes]]) -> None:
        """Say which files will be written, with what; what this needs is durable on return.

        Raises:
            OSError: the record cannot be read or written.

        """
        with self._turn:
            lines = self._load()
            is_new = False
            for name, data in contents:
                new = self._written[name] = digest(data)
                if name in lines and new not in lines[name]:
                    lines[name] |= {new}
                    is_new = True
            if is_new:
                self._write(lines)

    def record(self) -> None:
        """Record all files as they are; the names of those that were written are durable.

        Raises:
            OSError: a file or the record cannot be read, or the record not written.

        """
        with self._turn:
            before = self._load()
            lines = dict(self._recorded(before))
            if lines != before or self._is_damaged:
                self._write(lines)
            self._lines = lines
            self._written.clear()

    def _recorded(
        self, before: Mapping[str, frozenset[str]]
    ) -> Iterator[tuple[str, frozenset[str]]]:
        """A line for each file; several where it and its retired namesake differ."""
        published, retired = _names(self._directory), _names(self._retired)
        for name in sorted(published | retired):
            if name in published and name not in retired and name in self._written:
                yield name, frozenset({self._written[name]})
            elif name in before and len(before[name]) == 1 and name not in self._written:
                yield name, before[name]
            else:
                found = frozenset(self._digests(name))
                # What is damaged is not to be taken for right.
                known = before.get(name, found)
                yield name, (known & found) or known

    def _digests(self, name: str) -> Iterator[str]:
        """Those of a file and of its retired namesake."""
        for directory in (self._directory, self._retired):
            with contextlib.suppress(FileNotFoundError):
                yield digest(files.read_plain_file(directory / name))

    def _load(self) -> dict[str, frozenset[str]]:
        if self._lines is None:
            found = read_checksums(self._directory)
            self._lines = dict(found.lines)
            self._is_damaged = found.problem is not None
        return self._lines

    def _write(self, lines: Mapping[str, frozenset[str]]) -> None:
        body = "".join(
            f"{each}  {name}\n" for name in sorted(lines) for each in sorted(lines[name])
        ).encode()
        path = self._directory / CHECKSUMS
        header = f"# sha256:{digest(body)}\n".encode()
        files.replace_file(path, header + body, temporaries=self._temporaries)
        files.sync_directory(path.parent)
        self._is_damaged = False


def _names(directory: Path) -> set[str]:
    """The files of a directory, which need not be there, that are recorded."""
    try:
        return {name for name in os.listdir(directory) if RECORDED.fullmatch(name)}  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return set()
