"""The names of files in a patch, as patchutils reads and rewrites them.

The header lines ``--- NAME<tab>TIMESTAMP`` and ``+++ NAME<tab>TIMESTAMP`` are described in the
manual of GNU diff (Detailed Description of Unified Format). What is not in it, such as names with
spaces or which of the two names a file goes by, was found out from patchutils 0.3.3 and 0.4.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

DEV_NULL: Final = b"/dev/null"

_NAME: Final = re.compile(rb"[^\t\n]*")
_SLASHES: Final = re.compile(rb"/+")
_DIFF_WORD: Final = re.compile(rb"([^ \t\n\v\f\r]*)([ \t\n\v\f\r])")
_MONTH: Final = (
    rb"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
    rb"|january|february|march|april|june|july|august|september|october|november|december)"
)
_DAY: Final = (
    rb"(?:sunday|monday|tuesday|wednesday|thursday|friday|saturday|sun|mon|tue|wed|thu|fri|sat)"
)
# What stands between these has all spaces there are: two ways to share them out would be tried in
# every combination, which a line of spaces makes last for ever.
_DATE: Final = rb"(?:3[01]|[12][0-9]|0?[1-9])"
_TIME: Final = rb"(?:2[0-3]|[01]?[0-9]): *[0-5]?[0-9]: *(?:6[01]|[0-5]?[0-9])"
_YEAR: Final = rb"[0-9]{1,4}"
_TIMESTAMP: Final = re.compile(
    rb"[ \t]*(?:"
    + (_YEAR + rb"- *(?:1[0-2]|0?[1-9])- *" + _DATE + rb"\s*" + _TIME)
    + (rb"|" + _DAY + rb"\s*" + _MONTH + rb"\s*" + _DATE + rb"\s*" + _TIME + rb"\s*" + _YEAR)
    + (rb"|" + _MONTH + rb"\s*" + _YEAR + rb"\s*" + _TIME)
    + rb")",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renaming:
    """How names are rewritten: components stripped at the front, then a prefix put before."""

    strip: int = 0
    old_prefix: bytes = b""
    new_prefix: bytes = b""

    def header(self, line: bytes) -> bytes:
        """A line ``--- …`` or ``+++ …`` rewritten; ``/dev/null`` gets a prefix as well."""
        prefix = self.old_prefix if line.startswith(b"---") else self.new_prefix
        end = _end_of_name(line)
        return line[:4] + prefix + stripped(line[4:end], self.strip) + line[end:]

    def extended_header(self, line: bytes) -> bytes:
        """A header line of git's rewritten: only the first, ``diff …``, has both prefixes."""
        if not line.startswith(b"diff "):
            return line
        pieces = [line[:5]]
        operands, at = 0, 5
        for found in _DIFF_WORD.finditer(line, 5):
            word, space = found.groups()
            at = found.end()
            if word.startswith(b"-"):
                operands += word == b"-"
                pieces.append(word + space)
                continue
            prefix = (self.old_prefix, self.new_prefix, b"")[min(operands, 2)]
            operands += 1
            pieces.append(prefix + stripped(word, self.strip) + space)
        return b"".join([*pieces, line[at:]])


def stripped(name: bytes, count: int) -> bytes:
    """``name`` without its first ``count`` components; at least its last one is left."""
    if name == DEV_NULL or count == 0:
        return name
    parts = _SLASHES.split(name, maxsplit=count)
    return parts[count] if len(parts) > count else name.rpartition(b"/")[2]


def name_in(line: bytes) -> bytes:
    """The name in a header line: up to a tab, or to a space that a timestamp follows."""
    text = line[4:]
    first = at = _until_space(text, 0)
    while text[at : at + 1] == b" ":
        beyond = at + len(text[at:]) - len(text[at:].lstrip(b" \t"))
        if beyond >= len(text) or _TIMESTAMP.match(text, beyond):
            break
        at = _until_space(text, beyond + 1)
    if text[at : at + 1] == b"\n":
        at = first
    return text[:at]


def best_name(old: bytes, new: bytes) -> bytes:
    """Which of both names a file goes by: the one of fewer components, then the shorter one."""
    candidates = [name for name in (old, new) if name != DEV_NULL]
    return min(candidates, key=_length, default=old)


def _length(name: bytes) -> tuple[int, int, int]:
    return len(_SLASHES.findall(name)), len(name.rpartition(b"/")[2]), len(name)


def _end_of_name(line: bytes) -> int:
    found = _NAME.match(line, 4)
    return found.end() if found else len(line)


def _until_space(text: bytes, start: int) -> int:
    ends = [end for end in (text.find(c, start) for c in (b" ", b"\t", b"\n")) if end >= 0]
    return min(ends, default=len(text))
