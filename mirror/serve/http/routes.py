"""What a request's path asks for.

Paths are compared as they come, and nothing is decoded before a part is known to be needed, so an
encoded slash or ``..`` matches no route. Only what has a route can be asked for at all.

::

    /                                 the status page
    /status.json, /metrics            the same for programs
    /nix-cache-info                   ┐
    /<hash part>.narinfo              ├ a binary cache
    /nar/<name>                       ┘
    /<algorithm>/<digest>             a hashed mirror: base16, base32, base64 or SRI
    /inputs/<hash part>.tar           an input of a flake, as an archive
"""

from __future__ import annotations

import enum
import re
import urllib.parse
from dataclasses import dataclass
from typing import Final

from mirror.errors import FormatError
from mirror.formats.cache_info import FILE_NAME as CACHE_INFO
from mirror.formats.hashes import SIZES, Hash

_HASH_PART: Final = "[0-9abcdfghijklmnpqrsvwxyz]{32}"
_NARINFO: Final = re.compile(rf"/({_HASH_PART})\.narinfo")
_INPUT: Final = re.compile(rf"/inputs/({_HASH_PART})\.tar")
_NAR: Final = re.compile(r"/nar/([A-Za-z0-9][A-Za-z0-9+._-]{0,250})")
_LONGEST_HASH: Final = 200


class Page(enum.Enum):
    """Addresses that exist once."""

    STATUS = "/"
    STATUS_DOCUMENT = "/status.json"
    METRICS = "/metrics"
    CACHE_INFO = f"/{CACHE_INFO}"


@dataclass(frozen=True, slots=True)
class NarInfoOf:
    """The narinfo of the path with this hash part."""

    hash_part: str


@dataclass(frozen=True, slots=True)
class NarFile:
    """The file of this name below ``nar/``."""

    name: str


@dataclass(frozen=True, slots=True)
class FileOf:
    """The plain file with this hash."""

    hash: Hash


@dataclass(frozen=True, slots=True)
class InputArchive:
    """The flake input whose path has this hash part, as a tar archive."""

    hash_part: str


Route = Page | NarInfoOf | NarFile | FileOf | InputArchive

_PAGES: Final = {page.value: page for page in Page}


def route(target: str) -> Route | None:
    """Read a request target, its query left out of account; None if nothing is there.

    >>> route("/nar/1b2c.nar.xz")
    NarFile(name='1b2c.nar.xz')
    >>> route("/nar/..%2f..%2fetc%2fpasswd") is None
    True
    """
    path = target.partition("?")[0]
    if page := _PAGES.get(path):
        return page
    if found := _NARINFO.fullmatch(path):
        return NarInfoOf(found[1])
    if found := _NAR.fullmatch(path):
        return NarFile(found[1])
    if found := _INPUT.fullmatch(path):
        return InputArchive(found[1])
    digest = _hash(path)
    return None if digest is None else FileOf(digest)


def _hash(path: str) -> Hash | None:
    """The hash that a client of a hashed mirror means.

    Nix asks for ``/sha256/<base16>``. The fetchurl of nixpkgs puts whatever its derivation has
    behind the algorithm, which is empty where that is an SRI hash: ``//sha256-<base64>``.
    """
    if len(path) > _LONGEST_HASH:
        return None
    text = urllib.parse.unquote(path.lstrip("/"))
    algorithm, slash, digest = text.partition("/")
    if not slash or algorithm not in SIZES:
        # Base64 itself may have slashes.
        algorithm, digest = text.partition("-")[0], text
    try:
        return Hash.parse(digest, algorithm) if algorithm in SIZES else None
    except FormatError:
        return None


def is_suspicious(target: str) -> bool:
    """Whether a request tries to escape: a path with ``..``, plain or encoded."""
    return ".." in urllib.parse.unquote(urllib.parse.unquote(target.partition("?")[0]))


def kind_of(asked: Route | None) -> str:
    """The kind of a request, in one word, for the counters."""
    match asked:
        case Page() as page:
            return page.name.lower()
        case NarInfoOf():
            return "narinfo"
        case NarFile():
            return "nar"
        case FileOf():
            return "source"
        case InputArchive():
            return "input"
        case None:
            return "nothing"
