"""Request paths, and the headers that choose a part: never anything outside of what is served.

An input is the request's target, and in lines of their own Range, If-Range, If-None-Match.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fuzz.target import Target, plain
from mirror.errors import FormatError
from mirror.serve.http.answers import Part, matches, part
from mirror.serve.http.routes import (
    InputArchive,
    NarFile,
    NarInfoOf,
    is_suspicious,
    kind_of,
    route,
)

_SERVED: Final = Path("/srv/cache")
_SIZE: Final = 1000


def _check(data: bytes) -> None:
    target, *headers = data.decode(errors="surrogateescape").split("\n")
    ranges, if_range, if_none_match = (*headers, None, None, None)[:3]
    chosen = part(ranges, size=_SIZE, if_range=if_range, tag="tag")
    if isinstance(chosen, Part):
        assert 0 <= chosen.start < chosen.end <= _SIZE
    assert not matches(if_none_match, "tag") or {"*", "tag"} & set(_words(if_none_match or ""))
    found = route(target)
    kind_of(found)
    match found:
        case NarFile(name):
            _is_child(_SERVED / "nar", name)
        case NarInfoOf(hash_part):
            _is_child(_SERVED, f"{hash_part}.narinfo")
        case InputArchive(hash_part):
            _is_child(_SERVED / "inputs", f"{hash_part}.tar")
        case None:
            is_suspicious(target)
            raise FormatError("there is nothing")


def _words(text: str) -> list[str]:
    return [word.strip().removeprefix("W/").strip('"') for word in text.split(",")]


def _is_child(directory: Path, name: str) -> None:
    assert "\0" not in name
    assert len(name.encode()) <= 255
    assert name not in {"", ".", ".."}
    assert (directory / name).parent == directory


TARGET: Final = Target(
    name="routes",
    checking=plain(_check),
    words=(
        *(b"/nar/", b".narinfo", b"/inputs/", b".tar", b"/sha256/", b"//sha256-", b"..", b"%2e"),
        *(b"%2f", b"%00", b"%252e", b"%c0%ae", b"?", b"#", b"\\", b"http://x/", b"bytes=", b"-"),
        *(b"bytes=-0", b"bytes=0-0", b"9" * 18, b"W/", b'"tag"', b"*", b","),
    ),
    longest=1_000,
)
