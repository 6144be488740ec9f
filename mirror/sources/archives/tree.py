"""The tree that an archive's entries add up to, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.errors import FormatError, IntegrityError
from mirror.formats import nar_strings as wire
from mirror.formats.nar import Directory, Node, Regular, Symlink
from mirror.formats.nar_strings import show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large an archive may be: ``entries`` of any kind, ``size`` in bytes once unpacked.

    What is unpacked is at most ``growth`` times as large as what was downloaded, once it is more
    than ``harmless`` bytes: sources are compressed to a tenth, bombs to a thousandth.
    """

    entries: int = 500_000
    size: int = 64 << 30
    growth: int = 200
    harmless: int = 1 << 30

    def of(self, downloaded: int) -> Limits:
        """The limits for an archive of which so many bytes were downloaded."""
        return replace(self, size=min(self.size, max(self.harmless, self.growth * downloaded)))


class ArchiveTree:
    """Entries in the order of the archive. Every method raises IntegrityError for a hostile one."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._root: dict[bytes, Node] = {}
        self._entries = 0
        self._size = 0

    @property
    def root(self) -> Directory:
        """What the entries make together."""
        return Directory(self._root)

    def add(self, name: bytes, node: Regular | Symlink) -> None:
        """Put a file or a link there; it replaces what was there, unless that is a directory."""
        self._count(node.size if isinstance(node, Regular) else 0)
        *above, last = self._parts(name) or [b""]
        if not last:
            raise IntegrityError("the archive's top is not a directory")
        if isinstance(node, Symlink):
            _as_nix_accepts(wire.check_target, node.target, name)
        entries = self._directory(above, name)
        if isinstance(entries.get(last), Directory):
            raise IntegrityError(f"{show(name)} is a directory and something else too")
        entries[last] = node

    def add_directory(self, name: bytes) -> None:
        """See that there is a directory."""
        before = self._entries
        self._directory(self._parts(name), name)
        if self._entries == before:
            self._count(0)

    def add_copy(self, name: bytes, original: bytes) -> None:
        """A hard link: the file that is at ``original`` by now."""
        *above, last = self._parts(original) or [b""]
        node = self._directory(above, original).get(last)
        if not isinstance(node, Regular | Symlink):
            raise IntegrityError(f"{show(name)} is a link to {show(original)}, which is no file")
        self.add(name, node)

    def count_parts(self, number: int) -> None:
        """Count what an entry has many of, and which takes memory as entries do."""
        self._entries += number

    def _count(self, size: int) -> None:
        self._entries += 1
        self._size += size
        if self._entries > self._limits.entries:
            raise IntegrityError(f"the archive has more than {self._limits.entries} entries")
        if self._size > self._limits.size:
            raise IntegrityError(f"the archive holds more than {self._limits.size} bytes")

    @staticmethod
    def _parts(name: bytes) -> list[bytes]:
        if name.startswith(b"/"):
            raise IntegrityError(f"the archive has an absolute name: {show(name)}")
        parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
        if b".." in parts or b"\0" in name:
            raise IntegrityError(f"the archive has a name that leaves it: {show(name)}")
        if len(parts) > wire.MAXIMUM_DEPTH:
            raise IntegrityError(f"the archive is nested deeper than {wire.MAXIMUM_DEPTH}")
        for part in parts:
            _as_nix_accepts(wire.check_name, part, name)
        return parts

    def _directory(self, parts: Sequence[bytes], name: bytes) -> dict[bytes, Node]:
        """The entries of a directory, made if it is missing."""
        entries = self._root
        for part in parts:
            node = entries.get(part)
            if node is None:
                self._count(0)
                node = entries[part] = Directory({})
            if not isinstance(node, Directory) or not isinstance(node.entries, dict):
                raise IntegrityError(f"{show(name)} is below something that is not a directory")
            entries = node.entries
        return entries


def _as_nix_accepts(check: Callable[[bytes, bytes], None], text: bytes, name: bytes) -> None:
    """Refuse at once what no NAR may have: what is hostile may have much of it."""
    try:
        check(text, name if len(name) <= wire.MAXIMUM_TARGET else b"")
    except FormatError as error:
        raise IntegrityError(error.message.removeprefix("NAR: ")) from error
