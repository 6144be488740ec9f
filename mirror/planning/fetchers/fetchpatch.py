"""nixpkgs' fetchpatch and fetchpatch2, read from their ``postFetch`` shell text.

Both are fetchurl with a standard piece of shell that normalises the download by patchutils: 0.3.3
for fetchpatch, 0.4.2 for fetchpatch2. The text changed over the years (relative names, decoding and
hunks were added), what it does with a patch did not. A text with any other command is not
recognised.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mirror.planning.fetchers.fixed_outputs import HunkRange, PatchOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GIT_HEADERS: Final = {"0.3.3": False, "0.4.2": True}
_PACKAGE: Final = re.compile(r"/nix/store/[0-9a-z]{32}-patchutils-([0-9.]+)(?:/bin/[a-z]+)?")
_TOOLS: Final = ("lsdiff", "filterdiff", "interdiff")
_DECODERS: Final = {("cat",): False, ("base64", "-d"): True, ("base64", "--decode"): True}

# What only checks and complains: it is not needed to know what a patch becomes.
_CHECK: Final = re.compile(
    r'if \[ (?:\$\? -ne 0 \] \|\| \[ )?! -s "\$\w+" \]; then|exit 1|fi'
    r"|(?:echo|cat|od) [^`;|&]*?(?:1>&2|>&2)"
)
_STRIP: Final = re.compile(r"--strip=([0-9]{1,6})")
_HUNKS: Final = re.compile(r"(?P<first>[1-9][0-9]{0,8})?(?P<to>-(?P<last>[1-9][0-9]{0,8})?)?")


class _UnknownError(Exception):
    """The text is not of a known form."""


def options(post_fetch: str, inputs: Iterable[str]) -> PatchOptions | None:
    """How the text normalises its download; None if it is not fetchpatch's, or an odd use of it.

    ``inputs`` are the store paths that the derivation finds its programs in.
    """
    try:
        commands = _commands(post_fetch)
        words = [*(word for command in commands for word in command), *inputs]
        versions = {found[1] for word in words if (found := _PACKAGE.fullmatch(word))}
        if len(versions) != 1:
            return None
        return _read(commands, PatchOptions(git_headers=_GIT_HEADERS[versions.pop()]))
    except (_UnknownError, ValueError, KeyError):
        return None


def _commands(text: str) -> list[list[str]]:
    """The words of each command that does something, the tools by their names alone."""
    lines = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    return [shlex.split(line) for line in lines if line and not _CHECK.fullmatch(line)]


def _read(commands: Sequence[Sequence[str]], plain: PatchOptions) -> PatchOptions:
    match [[_tool(word) for word in command] for command in commands]:
        case [[start], *rest] if start.startswith("tmpfile=$TMPDIR/"):
            pass
        case _:
            raise _UnknownError
    found = plain
    match rest:
        case [["set", "+e"], [*decoder, "<", "$out", ">", "$tmpfile"], ["set", "-e"], move, *rest]:
            if move != _MOVE:
                raise _UnknownError
            found = replace(found, base64=_DECODERS[tuple(decoder)])
    match rest:
        case [cleaning, filtering, *rest]:
            found = _filtering(filtering, _cleaning(cleaning, found))
        case _:
            raise _UnknownError
    match rest:
        case []:
            return found
        case [["interdiff", "$out", "/dev/null", ">", "$tmpfile"], move] if move == _MOVE:
            return replace(found, revert=True)
    raise _UnknownError


_MOVE: Final = ["mv", "$tmpfile", "$out"]
_SORTED: Final = ["|", "sort", "-u", "|", "sed", "-e", r"s/[*?]/\\&/g", "|", "xargs", "-I{}"]


def _cleaning(words: list[str], found: PatchOptions) -> PatchOptions:
    """The command that takes each file by its name: ``lsdiff … | … | xargs … filterdiff …``."""
    listed = words.index("$out")
    match words[:listed]:
        case ["lsdiff"]:
            pass
        case ["lsdiff", "-p1", "-i", pattern] if pattern.endswith("/*"):
            found = replace(found, relative=pattern.removesuffix("/*"))
        case _:
            raise _UnknownError
    rest = words[listed + 1 :]
    if rest[: len(_SORTED)] != _SORTED:
        raise _UnknownError
    match rest[len(_SORTED) :]:
        case [r"--delimiter=\n", *rest]:
            pass
        case rest:
            found = replace(found, quotes_names=False)
    match rest:
        case ["filterdiff", "--include={}", strip, *prefixes, "--clean", "$out", ">", "$tmpfile"]:
            count = _STRIP.fullmatch(strip)
        case _:
            raise _UnknownError
    if count is None or "{}" in " ".join(prefixes):
        raise _UnknownError
    found = replace(found, strip=int(count[1]))
    match [prefix.partition("=") for prefix in prefixes]:
        case []:
            return found
        case [("--addoldprefix", _, old), ("--addnewprefix", _, new)]:
            return replace(found, old_prefix=old, new_prefix=new)
    raise _UnknownError


def _filtering(words: list[str], found: PatchOptions) -> PatchOptions:
    """The command that takes the files and hunks that are wanted: ``filterdiff -p1 …``."""
    match words:
        case ["filterdiff", "-p1", *choices, "$tmpfile", ">", "$out"]:
            pass
        case _:
            raise _UnknownError
    includes: list[str] = []
    excludes: list[str] = []
    hunks: tuple[HunkRange, ...] = ()
    for option, value in zip(choices[::2], choices[1::2], strict=True):
        if option == "-i":
            includes.append(value)
        elif option == "-x":
            excludes.append(value)
        elif option == "-#" and not hunks:
            hunks = tuple(_hunk_range(text) for text in value.split(","))
        else:
            raise _UnknownError
    return replace(found, includes=tuple(includes), excludes=tuple(excludes), hunks=hunks)


def _hunk_range(text: str) -> HunkRange:
    found = _HUNKS.fullmatch(text)
    if not found or not text:
        raise _UnknownError
    first, last = found["first"], found["last"] if found["to"] else found["first"]
    start, end = int(first) if first else None, int(last) if last else None
    if start is not None and end is not None and start > end:
        raise _UnknownError
    return HunkRange(start, end)


def _tool(word: str) -> str:
    name = word.rpartition("/")[2]
    return name if name in _TOOLS and _PACKAGE.fullmatch(word) else word
