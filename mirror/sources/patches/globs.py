"""Patterns of file names, as POSIX's ``fnmatch`` without flags takes them in the C locale.

``*`` and ``?`` match any byte, ``/`` and a leading dot too. It takes time in proportion to the
lengths of pattern and name, whatever they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mirror.errors import FormatError

_ANY: Final = frozenset(range(256))
_ITEM: Final = re.compile(
    rb"\\(?P<escaped>.)|(?P<star>\*+)|(?P<any>\?)|(?P<set>\[(?P<not>[!^]?)(?P<in>\]?[^\]]*)\])|.",
    re.DOTALL,
)
_ODD_IN_SET: Final = re.compile(rb"[\[\\/]|-.*-.*-|--|\A-|-\Z")


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern; its items are what one byte may be, None for any number of any bytes."""

    items: tuple[frozenset[int] | None, ...]

    @classmethod
    def parse(cls, pattern: bytes) -> Glob:
        """Read a pattern.

        Raises:
            FormatError: it has a bracket expression that only C libraries should interpret.

        """
        return cls(tuple(_item(found) for found in _ITEM.finditer(pattern)))

    def matches(self, name: bytes) -> bool:
        """Whether the whole of ``name`` matches."""
        # Where a part after a star does not match, the star before it takes one byte more; no star
        # further back has to be reconsidered.
        items, place, at = self.items, 0, 0
        star: int | None = None
        star_at = 0
        while at < len(name):
            item = items[place] if place < len(items) else frozenset[int]()
            if item is None:
                star, star_at = place, at
                place += 1
            elif name[at] in item:
                place, at = place + 1, at + 1
            elif star is not None:
                star_at += 1
                place, at = star + 1, star_at
            else:
                return False
        return all(item is None for item in items[place:])


def _item(found: re.Match[bytes]) -> frozenset[int] | None:
    if found["star"]:
        return None
    if found["any"]:
        return _ANY
    if found["set"]:
        members = _members(found["in"])
        return _ANY - members if found["not"] else members
    if found[0] in {b"[", b"\\"}:
        raise FormatError("a pattern ends within a bracket expression or an escape")
    return frozenset(found["escaped"] or found[0])


def _members(text: bytes) -> frozenset[int]:
    if _ODD_IN_SET.search(text):
        raise FormatError(f"the bracket expression {text!r} in a pattern is not supported")
    members: set[int] = set()
    for found in re.finditer(rb"(.)-(.)|(.)", text, re.DOTALL):
        first, last, single = found.groups()
        members.update(single or range(first[0], last[0] + 1))
    return frozenset(members)
