"""The tree that an archive's entries add up to, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError, IntegrityError
from mirror.formats import nar_strings as wire
from mirror.formats.nar import Directory, Node, Regular, Symlink
from mirror.formats.nar_strings import show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_MOST_STEPS: Final = 256
"""How many directories the links of one name may lead through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large an archive may be: ``entries`` of any kind, ``size`` in bytes once unpacked.

    What is unpacked is at most ``growth`` times as large as what was downloaded, once it is more
    than ``harmless`` bytes: sources are compressed to a tenth, bombs to a thousandth. Of what only
    slow code can uncompress there are at most ``slow`` bytes.
    """

    entries: int = 500_000
    size: int = 64 << 30
    growth: int = 200
    harmless: int = 1 << 30
    slow: int = 64 << 20

    def of(self, downloaded: int) -> Limits:
        """The limits for an archive of which so many bytes were downloaded."""
        return replace(self, size=min(self.size, max(self.harmless, self.growth * downloaded)))


class ArchiveTree:
    """Entries in the order of the archive. Every method raises IntegrityError for a hostile one.

    What an entry does to those before it is what unpacking with GNU tar does: a name may lead
    through links that stay below the directory they are in, and no others.
    """

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
        """Put a file or a link there; it replaces what was there, if that can be removed."""
        self.count(1, node.size if isinstance(node, Regular) else 0)
        *above, last = self._parts(name) or [b""]
        if not last or name.rstrip(b"/").endswith(b"/."):
            raise IntegrityError(f"{show(name)} names a directory, and is something else")
        if isinstance(node, Symlink):
            _as_nix_accepts(wire.check_target, node.target, name)
        entries = self._directory(above, name)
        existing = entries.get(last)
        if isinstance(existing, Directory) and existing.entries:
            raise IntegrityError(f"{show(name)} is a directory and something else too")
        if _leads_out(existing) and _leads_out(node):
            # GNU tar makes these at the end, and of several the first.
            return
        entries[last] = node

    def add_directory(self, name: bytes) -> None:
        """Make sure that there is a directory; it replaces a file or a link."""
        self.count(1, 0)
        *above, last = self._parts(name) or [b""]
        if last:
            entries = self._directory(above, name)
            if not isinstance(entries.get(last), Directory):
                entries[last] = Directory({})

    def add_copy(self, name: bytes, original: bytes) -> None:
        """A hard link: the file that is at ``original`` by now."""
        *above, last = self._parts(original) or [b""]
        node = self._directory(above, original, makes=False).get(last)
        if node is not None and self._parts(name) == [*above, last]:
            return
        if not isinstance(node, Regular | Symlink) or original.endswith((b"/", b"/.")):
            raise IntegrityError(f"{show(name)} is a link to {show(original)}, which is not a file")
        self.add(name, node)

    def find(self, name: bytes) -> Node | None:
        """The node at a name so far, without following links."""
        node: Node | None = Directory(self._root)
        for part in self._parts(name):
            node = (_entries(node) or {}).get(part)
        return node

    def count(self, entries: int, size: int) -> None:
        """Count so many more entries, or what takes memory as they do, and bytes."""
        self._entries += entries
        self._size += size
        if self._entries > self._limits.entries:
            raise IntegrityError(f"the archive has more than {self._limits.entries} entries")
        if self._size > self._limits.size:
            raise IntegrityError(f"the archive holds more than {self._limits.size} bytes")

    @staticmethod
    def _parts(name: bytes) -> list[bytes]:
        if name.startswith(b"/"):
            raise IntegrityError(f"the archive has an absolute name: {show(name)}")
        parts = _split(name)
        if b".." in parts or b"\0" in name:
            raise IntegrityError(f"the archive has a name that leaves it: {show(name)}")
        if len(parts) > wire.MAXIMUM_DEPTH:
            raise IntegrityError(f"the archive is nested deeper than {wire.MAXIMUM_DEPTH}")
        for part in parts:
            _as_nix_accepts(wire.check_name, part, name)
        return parts

    def _directory(
        self, parts: Sequence[bytes], name: bytes, *, makes: bool = True
    ) -> dict[bytes, Node]:
        """The entries of a directory, gone to by links too; ``makes``: it is made if missing."""
        entries = self._root
        pending = [(part, makes) for part in reversed(parts)]
        steps = 0
        while pending:
            part, may_make = pending.pop()
            node = entries.get(part)
            if node is None and may_make:
                self.count(1, 0)
                node = entries[part] = Directory({})
            below = _entries(node)
            if below is not None:
                entries = below
            elif isinstance(node, Symlink) and not _leads_out(node):
                steps += 1 + node.target.count(b"/")
                if steps > _MOST_STEPS:
                    raise IntegrityError(f"{show(name)} leads through too many links")
                # Whatever a link leads to has to be there.
                pending += [(part, False) for part in reversed(_split(node.target))]
            else:
                raise IntegrityError(f"{show(name)} is below something that is not a directory")
        return entries


def _split(name: bytes) -> list[bytes]:
    return [part for part in name.split(b"/") if part not in {b"", b"."}]


def _entries(node: Node | None) -> dict[bytes, Node] | None:
    if isinstance(node, Directory) and isinstance(node.entries, dict):
        return node.entries
    return None


def _leads_out(node: Node | None) -> bool:
    """Whether a link may lead to what is not below the directory that it is in."""
    return isinstance(node, Symlink) and (
        node.target.startswith(b"/") or b".." in node.target.split(b"/")
    )


def _as_nix_accepts(check: Callable[[bytes, bytes], None], text: bytes, name: bytes) -> None:
    """Refuse names and depths that no NAR may have, before there are many of them."""
    try:
        check(text, name if len(name) <= wire.MAXIMUM_TARGET else b"")
    except FormatError as error:
        raise IntegrityError(error.message.removeprefix("NAR: ")) from error
