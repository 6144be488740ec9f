"""What patchutils' ``interdiff PATCH /dev/null`` makes of a patch: the patch that takes it back.

Old and new change places in the headers and hunks, and each file is announced by a line
``reverted:``. Lines keep their order, so what was removed still comes before what was added.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError
from mirror.sources.patches.hunks import MARK, Hunk

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNS: Final = {b"+": b"-", b"-": b"+"}


def reverted(patch: bytes, *, may_have_empty_lines: bool) -> bytes:
    """``patch`` taken back.

    ``may_have_empty_lines``: an empty line in a hunk is left out and not counted, as patchutils 0.3
    does, instead of being an error, as for 0.4.

    Raises:
        FormatError: it is of a form that is not supported here.

    """
    if not patch.endswith(b"\n"):
        raise FormatError("its last line, which is to be taken back, does not end")
    return b"".join(_Reverter(patch, may_have_empty_lines=may_have_empty_lines).files())


class _Reverter:
    """Reads line by line; ``line`` is the next one to look at, empty at the end."""

    def __init__(self, patch: bytes, *, may_have_empty_lines: bool) -> None:
        self._lines = io.BytesIO(patch)
        self._may_have_empty_lines = may_have_empty_lines
        self.line = self._lines.readline()

    def files(self) -> Iterator[bytes]:
        follows_stars = False
        while self.line:
            old = self.line
            self._next()
            if not old.startswith(b"--- "):
                follows_stars = old.startswith(b"*** ")
                continue
            if follows_stars:
                raise FormatError("it is a context diff, which is not supported")
            new = self.line
            self._next()
            if not new.startswith(b"+++ "):
                continue
            if not self.line or b"\0" in old + new:
                raise FormatError("a file's header is not followed by anything, or has a null byte")
            yield b"reverted:\n--- " + new[4:] + b"+++ " + old[4:]
            while self.line.startswith(MARK):
                yield from self._hunk(Hunk.parse(self.line))

    def _next(self) -> None:
        self.line = self._lines.readline()

    def _hunk(self, hunk: Hunk) -> Iterator[bytes]:
        old_left, new_left = hunk.old_count, hunk.new_count
        yield hunk.reverted_header()
        has_all_newlines = True
        self._next()
        if not self.line:
            raise FormatError("it ends with a hunk's first line, behind which interdiff never ends")
        while True:
            if not (old_left or new_left) and (
                not has_all_newlines or not self.line.startswith(b"\\")
            ):
                # After one line that says that a newline is missing, another one ends the file.
                return
            if not self.line:
                raise FormatError("it ends within a hunk")
            sign = self.line[:1]
            if sign == b" ":
                old_left, new_left = max(old_left - 1, 0), max(new_left - 1, 0)
                yield self.line
            elif sign in _SIGNS:
                if sign == b"+":
                    new_left = max(new_left - 1, 0)
                else:
                    old_left = max(old_left - 1, 0)
                yield _SIGNS[sign] + self.line[1:]
            elif sign == b"\\":
                has_all_newlines = False
                yield self.line
            elif sign == b"\n" and not self._may_have_empty_lines:
                raise FormatError("a hunk has an empty line, and such a patch is not taken back")
            self._next()
