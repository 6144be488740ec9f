"""The line that begins a hunk of a unified diff, ``@@ -START,COUNT +START,COUNT @@ COMMENT``.

The format is described in the manual of GNU diff (Detailed Description of Unified Format). Only its
regular form is read: patchutils takes others too, and makes of them what nobody wants in a patch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mirror.errors import FormatError

MARK: Final = b"@@ "

_RANGE: Final = rb"([0-9]{1,18})(?:,([0-9]{1,18}))?"
_HUNK: Final = re.compile(rb"@@ -" + _RANGE + rb" \+" + _RANGE + rb" @@(?![@])([^\0]*)", re.DOTALL)
_WORD_SIZE: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Hunk:
    """Where a hunk begins in the old and the new file, and how many lines of each it has."""

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    comment: bytes

    @classmethod
    def parse(cls, line: bytes) -> Hunk:
        """Read the line.

        Raises:
            FormatError: it is not of the regular form.

        """
        found = _HUNK.fullmatch(line)
        if found is None:
            raise FormatError(f"not a hunk's first line: {line[:80]!r}")
        old_start, old_count, new_start, new_count, comment = found.groups()
        return cls(
            int(old_start),
            1 if old_count is None else int(old_count),
            int(new_start),
            1 if new_count is None else int(new_count),
            comment,
        )

    def header(self, *, moved: int, comment: bytes) -> bytes:
        """The line anew; ``moved`` is by how many lines hunks left out before it move it."""
        new_start = (self.new_start + moved) % _WORD_SIZE
        old = _range(self.old_start, self.old_count)
        return b"@@ -%b +%b @@%b" % (old, _range(new_start, self.new_count), comment)

    def reverted_header(self) -> bytes:
        """The line that old and new have changed places in."""
        old = _range(self.old_start, self.old_count)
        return b"@@ -%b +%b @@\n" % (_range(self.new_start, self.new_count), old)


def _range(start: int, count: int) -> bytes:
    return b"%d" % start if count == 1 else b"%d,%d" % (start, count)
