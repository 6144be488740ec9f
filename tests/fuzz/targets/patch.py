"""Patches: what is accepted is not empty, and is the same patch however it comes."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Final

from fuzz.target import Target, plain
from mirror.errors import FormatError
from mirror.planning.fetchers.fixed_outputs import HunkRange, PatchOptions
from mirror.sources.patches.normalise import normalised

_PLAIN: Final = PatchOptions(git_headers=False)
_GIT: Final = PatchOptions(git_headers=True)
_EACH: Final = (
    *(_PLAIN, _GIT, replace(_GIT, excludes=("x/*",)), replace(_PLAIN, includes=("*[a-f]*",))),
    *(replace(_PLAIN, revert=True), replace(_GIT, relative="src", strip=2, revert=True)),
    replace(_PLAIN, hunks=(HunkRange(2, None),), old_prefix="a/p/", new_prefix="b/p/"),
    replace(_PLAIN, quotes_names=False, excludes=("?",)),
)


def _check(data: bytes) -> None:
    made = [text for options in _EACH if (text := _normalised(data, options)) is not None]
    if not made:
        raise FormatError("no patch")
    assert all(made)


def _normalised(data: bytes, options: PatchOptions) -> bytes | None:
    try:
        text = normalised(data, options)
    except FormatError:
        return None
    assert normalised(base64.encodebytes(data), replace(options, base64=True)) == text
    return text


TARGET: Final = Target(
    name="patch",
    checking=plain(_check),
    words=(
        *(b"--- ", b"+++ ", b"*** ", b"@@ -1 +1 @@", b"@@ -0,0 +1,2 @@", b"diff --git ", b"\n"),
        *(b"\\ No newline at end of file\n", b"rename from ", b"index ", b"/dev/null", b"\t"),
        *(b"2020-01-01 00:00:00", b"[", b"*", b"?", b"\\", b"//", b"a/", b" ", b"\0", b"'"),
    ),
    executions=1_000,
)
