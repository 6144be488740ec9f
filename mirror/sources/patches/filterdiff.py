"""What patchutils' ``filterdiff`` keeps of a patch: the files that are wanted, their names changed.

A patch is prose with diffs in it. A diff begins with ``--- `` and ``+++ `` lines, for patchutils
0.4 also with git's extended header lines before them (git-diff(1), "Generating patch text"); its
hunks say how many lines they have. Prose is dropped, or kept where files are excluded and it is
not to be clean. Context diffs are refused: no patch of nixpkgs is one.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError
from mirror.sources.patches.hunks import MARK, Hunk
from mirror.sources.patches.names import Renaming, best_name, name_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mirror.planning.fetchers.fixed_outputs import HunkRange

MOST_FILES: Final = 50_000
"""Of how many files a patch may be: each takes memory."""

_LONGEST_HEADER: Final = 8_192  # Two names of files, each as long as Linux allows.

_MOST_HEADERS: Final = 7  # What patchutils has room for; further ones replace the last.
_CONTEXT_HUNK: Final = b"*" * 15
# Without `new file mode`, which patchutils 0.4.2 does not recognise: it takes the headers of a new
# file for prose.
_EXTENDED: Final = (
    *(b"old mode ", b"new mode ", b"deleted file mode ", b"copy from ", b"copy to "),
    *(b"rename from ", b"rename to ", b"similarity index ", b"dissimilarity index ", b"index "),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The options of filterdiff.

    ``git_headers``: as patchutils 0.4, which keeps git's extended header lines. ``wants`` says of a
    file's name whether the file is wanted; of it, only ``hunks`` are, or all if there are none
    named. ``clean`` drops the comments of hunks, ``prose`` keeps what is outside of all diffs.
    """

    git_headers: bool
    renaming: Renaming = field(default_factory=Renaming)
    wants: Callable[[bytes], bool] = lambda _name: True
    hunks: tuple[HunkRange, ...] = ()
    clean: bool = False
    prose: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What became of a file of the patch, by its old name; of prose, where the name is None."""

    name: bytes | None
    text: bytes


def parts(patch: bytes, options: Filter) -> Iterator[Part]:
    """What filterdiff makes of ``patch``, in its order.

    Raises:
        FormatError: it is of a form that is not supported here.

    """
    return _Parser(patch, options).parts()


class _Parser:
    """Reads line by line; ``line`` is the next one to look at, empty at the end."""

    def __init__(self, patch: bytes, options: Filter) -> None:
        self._lines = io.BytesIO(patch)
        self._options = options
        self.line = self._lines.readline()

    def parts(self) -> Iterator[Part]:
        files = 0
        while self.line:
            headers = self._extended_headers()
            if not self.line:
                return
            is_context = self.line.startswith(b"*** ")
            if not is_context and not self.line.startswith(b"--- "):
                yield from self._outside(headers)
                continue
            headers = [*headers[: _MOST_HEADERS - 1], self.line]
            self._next()
            if not self.line:
                yield from self._prose(headers[:1])
                return
            if not self.line.startswith(b"--- " if is_context else b"+++ "):
                yield from self._prose(headers)
                continue
            yield self._file([*headers, self.line], is_context=is_context)
            files += 1
            if files > MOST_FILES:
                raise FormatError(f"the patch is of more than {MOST_FILES:,} files")

    def _next(self) -> None:
        self.line = self._lines.readline()

    def _extended_headers(self) -> list[bytes]:
        """Git's header lines, if they are wanted and here; ``line`` is the one behind them."""
        if not self._options.git_headers or not self.line.startswith(b"diff "):
            return []
        headers = [self.line]
        self._next()
        while self.line.startswith(_EXTENDED):
            headers = [*headers[: _MOST_HEADERS - 1], self.line]
            self._next()
        return headers

    def _outside(self, headers: list[bytes]) -> Iterator[Part]:
        """Lines that belong to no diff with hunks."""
        if not headers:
            yield from self._prose([self.line])
            self._next()
        elif self.line.startswith(b"diff "):
            # It is kept twice: here, and as the first of the headers that begin with it.
            yield from self._prose([*headers, self.line])
        else:
            yield from self._prose(headers)

    def _prose(self, lines: list[bytes]) -> Iterator[Part]:
        if self._options.prose:
            yield Part(None, b"".join(_whole(lines)))

    def _file(self, headers: list[bytes], *, is_context: bool) -> Part:
        if len(max(_whole(headers), key=len)) > _LONGEST_HEADER:
            raise FormatError("a line with the name of a file in the patch is too long")
        name = best_name(name_in(headers[-2]), name_in(headers[-1]))
        if not is_context:
            return Part(name, b"".join(self._hunks(headers, is_wanted=self._options.wants(name))))
        self._next()
        if self.line.startswith(_CONTEXT_HUNK):
            raise FormatError("it is a context diff, which is not supported")
        return Part(name, b"")

    def _hunks(self, headers: list[bytes], *, is_wanted: bool) -> Iterator[bytes]:
        """The headers and hunks that are kept; ``line`` is then the first one behind the file."""
        old_left = new_left = number = moved = 0
        is_kept, are_shown = is_wanted, False
        while True:
            self._next()
            line = self.line
            if not line:
                return
            if old_left or new_left:
                if not line.startswith(b"\\"):
                    old_left -= old_left > 0 and not line.startswith(b"+")
                    new_left -= new_left > 0 and not line.startswith(b"-")
            elif not line.startswith(b"\\"):
                if not line.startswith(MARK):
                    return
                hunk = Hunk.parse(line)
                old_left, new_left = hunk.old_count, hunk.new_count
                number += 1
                is_kept = is_wanted and self._has(number)
                if not is_kept:
                    moved += old_left - new_left
                    continue
                if not are_shown:
                    yield self._renamed(headers)
                    are_shown = True
                comment = b"\n" if self._options.clean else hunk.comment
                yield hunk.header(moved=moved, comment=comment)
                continue
            if is_kept:
                yield line

    def _has(self, number: int) -> bool:
        ranges = self._options.hunks
        return not ranges or any(number in each for each in ranges)

    def _renamed(self, headers: list[bytes]) -> bytes:
        renaming = self._options.renaming
        extended = map(renaming.extended_header, headers[:-2])
        return b"".join([*extended, *map(renaming.header, headers[-2:])])


def _whole(lines: list[bytes]) -> list[bytes]:
    """The lines, if patchutils, which is written in C, takes all of each."""
    if any(b"\0" in line for line in lines):
        raise FormatError("the patch has a null byte outside of its hunks")
    return lines
