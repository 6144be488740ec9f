"""Where flakes and their inputs come from, which decides whether clients may have them.

What anybody can fetch from the internet may be served to anybody. What was fetched with a key, a
password or a token, or comes from this machine's own files, may not, unless its owner says so.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mirror.masking import has_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORGES: Final = {"github": "github.com", "gitlab": "gitlab.com", "sourcehut": "git.sr.ht"}
_SCHEMES: Final = frozenset({"http", "https", "git"})
_WITH_URL: Final = frozenset({"file", "git", "hg", "mercurial", "tarball"})


@dataclass(frozen=True, slots=True)
class Place:
    """A server that is asked without any credentials in the URL, and the path there."""

    host: str
    path: str


def place_of(locked: Mapping[str, Any]) -> Place | None:
    """The place that a locked flake reference names; None for all that not anybody can fetch.

    Those are this machine's files, ssh, and URLs with a user, a password or a token.
    """
    kind = locked.get("type")
    if any(isinstance(each, str) and has_secrets(each) for each in locked.values()):
        return None
    if kind in _FORGES:
        host = locked.get("host", _FORGES[kind])
        return Place(str(host).lower(), f"{locked.get('owner')}/{locked.get('repo')}")
    if kind not in _WITH_URL:
        return None
    url = str(locked.get("url", "")).removeprefix(f"{kind}+")
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in _SCHEMES and parts.hostname and "@" not in parts.netloc:
            return Place(parts.hostname.lower(), parts.path.strip("/"))
    return None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Which places this user has credentials for: Nix sends them there, needed or not.

    ``prefixes`` are hosts, or hosts with a path (``github.com/my-company``); ``for_all``: there are
    some for every host.
    """

    prefixes: frozenset[str] = frozenset()
    for_all: bool = False

    def are_for(self, place: Place) -> bool:
        """Whether the user has credentials for it, so that it may not be public."""
        if self.for_all:
            return True
        words = [place.host, *filter(None, place.path.lower().split("/"))]
        return any("/".join(words[:n]) in self.prefixes for n in range(1, len(words) + 1))


def credentials(access_tokens: frozenset[str], netrc_file: Path | None) -> Credentials:
    """Read which places there are credentials for; a netrc file that is not there has none.

    ``access_tokens`` are the names of Nix's setting. It blocks.
    """
    hosts: set[str] = {each.lower().strip("/") for each in access_tokens}
    for_all = False
    if netrc_file is not None:
        # What cannot be read here is not sent by anybody, or stops the run elsewhere. What is no
        # netrc is read nevertheless, as curl does: rather a host too many than one too few.
        with contextlib.suppress(OSError):
            words = [word.strip('"') for word in netrc_file.read_text("latin-1").lower().split()]
            for_all = "default" in words
            hosts |= {host for word, host in itertools.pairwise(words) if word == "machine"}
    return Credentials(frozenset(hosts), for_all)
