"""Patches of all the kinds that fetchpatch meets, drawn at random, and options for them."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mirror.planning.fetchers.fixed_outputs import HunkRange, PatchOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_DIRECTORIES: Final = ("", "src/", "src/lib/", "doc/", "a//b/", "x/y/z/")
_NAMES: Final = (
    *("main.c", "a.txt", "README", "with space.txt", "star*.c", "what?.c", "x", "grün.txt"),
    *("main.cc", "a[1].txt", "-x", "b-1.0", "2020-01-01 00:00:00", "tail ", "Makefile.am"),
)
_TIMESTAMPS: Final = (
    *("", "", "", "\t", "\t2020-01-01 10:00:00.000000000 +0100", " 2020-01-01 10:00:00"),
    *("\tThu Jan  1 00:00:00 1970", " Mon Feb 12 11:22:33 2001", "\t(revision 12)"),
    *("\tSat, 1 Jan 2000", " Jan 2001 10:20:30", " no date", "\t1970-01-01 01:00:00 +0100"),
    *("\r", " ", "\t(working copy)", " (revision 4)"),
)
_LINES: Final = (
    *("", "x", "\tindented", "int main(void) {", "}", "--- a/evil", "+++ b/evil", "@@ -1 +1 @@"),
    *("-- ", "- item", "diff --git a/x b/x", "grün", "trailing \t", "windows\r", "* star", "\\ no"),
)
_PROSE: Final = (
    *(
        "From 0123456789abcdef Mon Sep 17 00:00:00 2001",
        "Subject: [PATCH] change",
        "---",
        "-- ",
        "",
    ),
    *("2.40.1", " src/main.c | 2 +-", "--- dashes", "--- a", "+++ b", "*** stars", "*** a", "++++"),
    *("diff of things", "Index: main.c", "=" * 67, "Property changes on: x", "@@ -1 +1 @@"),
    *("index 123..456 100644", "\\ No newline at end of file", "diff --git a/x b/x", "<html>"),
    *("similarity index 90%", "GIT binary patch", "rename from a", "diff -r 12 -r 34 main.c"),
)
_COMMENTS: Final = ("", "", " int main(void)", " @@ twice @@", " ", "\r", "x")


class DrawnPatches:
    """Draws patches and options from one source of chance."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def patch(self) -> bytes:
        """A patch of one to eight parts, some of them broken."""
        random = self._random
        kinds: list[Callable[[], list[str]]] = [
            *(self._git, self._git, self._git, self._plain, self._plain, self._svn, self._hg),
            *(self._without_hunks, self._prose),
        ]
        lines = [line for _ in range(random.randint(1, 8)) for line in random.choice(kinds)()]
        text = "\n".join(lines).encode()
        if random.random() < 0.8:
            text += b"\n"
        if random.random() < 0.1:
            text = text.replace(b"\n", b"\r\n")
        if random.random() < 0.1:
            text = self._damaged(text)
        return text

    def options(self, *, git_headers: bool) -> PatchOptions:
        """How fetchpatch may be asked to read a patch; plainly most of the time."""
        random = self._random
        found = PatchOptions(git_headers=git_headers, strip=random.choice((0, 0, 0, 1, 2, 5)))
        if random.random() < 0.4:
            found = replace(found, old_prefix="a/sub/dir/", new_prefix="b/sub/dir/")
        choice = random.random()
        patterns = ("*", "src/*", "*.c", "main.?", "[mR]*", "[!m]*", "doc/*", "*a*t*", "\\*", "x")
        drawn = tuple(random.sample(patterns, random.randint(1, 3)))
        if choice < 0.2:
            found = replace(found, includes=drawn)
        elif choice < 0.4:
            found = replace(found, excludes=drawn)
        if random.random() < 0.2:
            found = replace(found, relative=random.choice(("src", "src/lib", "doc", "*")))
        if random.random() < 0.2:
            ranges = (HunkRange(1, 1), HunkRange(2, None), HunkRange(None, 2), HunkRange(3, 4))
            found = replace(found, hunks=tuple(random.sample(ranges, random.randint(1, 2))))
        return replace(found, revert=random.random() < 0.2)

    def encoded(self, patch: bytes) -> bytes:
        """The patch as Gitiles sends it for ``?format=TEXT``."""
        return base64.b64encode(patch) if self._random.random() < 0.5 else base64.encodebytes(patch)

    def _name(self) -> str:
        return self._random.choice(_DIRECTORIES) + self._random.choice(_NAMES)

    def _prose(self) -> list[str]:
        return self._random.choices(_PROSE, k=self._random.randint(1, 5))

    def _git(self) -> list[str]:
        random = self._random
        old = self._name()
        new = self._name() if random.random() < 0.2 else old
        extended = [f"diff --git a/{old} b/{new}"]
        if random.random() < 0.3:
            extended += ["old mode 100644", "new mode 100755"]
        if old != new:
            extended += ["similarity index 90%", f"rename from {old}", f"rename to {new}"]
        extended += ["index 0123456..789abcd 100644"] * random.choice((0, 1, 1, 1, 3))
        ends = [f"a/{old}", f"b/{new}"]
        kind = random.random()
        if kind < 0.15:
            extended.insert(1, "new file mode 100644")
            ends[0] = "/dev/null"
        elif kind < 0.3:
            extended.insert(1, "deleted file mode 100644")
            ends[1] = "/dev/null"
        return [*extended, f"--- {ends[0]}", f"+++ {ends[1]}", *self._hunks()]

    def _plain(self) -> list[str]:
        random = self._random
        old, new = f"{random.choice(('', 'old/', 'p-1.0.orig/'))}{self._name()}", self._name()
        if random.random() < 0.7:
            new = f"{random.choice(('', 'new/', 'p-1.0/'))}{old.partition('/')[2] or old}"
        if random.random() < 0.1:
            old = "/dev/null"
        stamps = random.choices(_TIMESTAMPS, k=2)
        lines = [f"--- {old}{stamps[0]}", f"+++ {new}{stamps[1]}", *self._hunks()]
        return [f"diff -Nru {old}  {new}", *lines] if random.random() < 0.3 else lines

    def _svn(self) -> list[str]:
        name = self._name()
        old, new = f"--- {name}\t(revision 1)", f"+++ {name}\t(working copy)"
        return [f"Index: {name}", "=" * 67, old, new, *self._hunks()]

    def _hg(self) -> list[str]:
        name = self._name()
        stamp = "\tThu Jan 01 00:00:00 1970 +0000"
        old, new = f"--- a/{name}{stamp}", f"+++ b/{name}{stamp}"
        return ["# HG changeset patch", f"diff -r 123 -r 456 {name}", old, new, *self._hunks()]

    def _without_hunks(self) -> list[str]:
        name = self._name()
        head = f"diff --git a/{name} b/{name}"
        return self._random.choice(
            (
                [head, "old mode 100644", "new mode 100755"],
                [head, "similarity index 100%", f"rename from {name}", "rename to y"],
                [head, "index 1..2 100644", "GIT binary patch", "literal 3", "KcmZQzfB^>J", ""],
                [head, f"Binary files a/{name} and b/{name} differ"],
                [f"--- a/{name}", f"+++ b/{name}"],
                [f"--- a/{name}"],
                [head, "new file mode 100644", "index 0000000..e69de29"],
            )
        )

    def _hunks(self) -> list[str]:
        random = self._random
        lines: list[str] = []
        for number in range(random.choice((0, 1, 1, 1, 2, 3, 5))):
            signs = random.choices(" -+", k=random.randint(0 if random.random() < 0.1 else 1, 8))
            old, new = (sum(sign in kind for sign in signs) for kind in (" -", " +"))
            if random.random() < 0.03:
                old += 1
            start = 1 + 20 * number
            at = f"@@ -{_range(start, old, random)} +{_range(start, new, random)} @@"
            lines.append(at + random.choice(_COMMENTS))
            for sign in signs:
                text = random.choice(_LINES)
                lines.append("" if sign == " " and random.random() < 0.1 else sign + text)
                if random.random() < 0.05:
                    lines.append("\\ No newline at end of file")
        if random.random() < 0.15:
            lines.append("\\ No newline at end of file")
        return lines

    def _damaged(self, text: bytes) -> bytes:
        random = self._random
        lines = text.split(b"\n")
        for _ in range(random.randint(1, 3)):
            place = random.randrange(len(lines))
            change = random.random()
            if change < 0.4:
                del lines[place : place + 1]
            elif change < 0.7:
                lines.insert(place, random.choice(lines or [b""]))
            elif lines and lines[place]:
                at = random.randrange(len(lines[place]))
                line = lines[place]
                lines[place] = line[:at] + bytes([random.randrange(256)]) + line[at + 1 :]
            lines = lines or [b""]
        return b"\n".join(lines)


def _range(start: int, count: int, random: Random) -> str:
    return str(start) if count == 1 and random.random() < 0.8 else f"{start},{count}"
