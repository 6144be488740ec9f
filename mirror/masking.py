"""Leaving credentials out of text that is printed, kept in a document or shown to the network.

URLs carry them in two places: the user information (``https://user:password@host``; a token is
often the user name alone) and the query (``?token=…``, a signed URL's ``X-Amz-Signature``). There
is no list of all names that a service gives its tokens. So it is known which parameters are
harmless, those of flake references and of Nix stores, and the value of every other one is left
out. A user name is shown only for ssh, where the key is not in the URL.

What Nix and the network are given is never masked: this is for what comes out.
"""

from __future__ import annotations

import re
from typing import Any, Final

LEFT_OUT: Final = "…"
"""What stands for a credential."""

HARMLESS: Final = frozenset(
    (
        # of flake references
        *("allRefs", "dir", "exportIgnore", "host", "lastModified", "lfs", "narHash", "ref"),
        *("rev", "revCount", "shallow", "submodules", "unpack"),
        # of Nix stores and binary caches
        *("compression", "endpoint", "log", "priority", "profile", "real", "region", "root"),
        *("scheme", "state", "store", "trusted", "want-mass-query"),
    )
)
"""The parameters whose values are shown."""

_USER: Final = re.compile(r"://([^\s/?#\"<>]*)@")
_USER_ALONE: Final = re.compile(r"(?<![^\s\"'(=,])[^\s/@:\"']{1,100}:[^\s/@\"']{1,300}@(?=[\w.\[])")
"""Where the scheme was left out."""
_WORD: Final = re.compile(r"[^\s\"'<>`]+")
_SSH: Final = ("ssh", "SSH")
_SEPARATOR: Final = re.compile(r"([&;])")
_PUNCTUATION: Final = ":;,.)]}"
_STORE: Final = "/nix/store/"


def without_secrets(text: str) -> str:
    """``text`` with the credentials of the URLs in it left out.

    >>> without_secrets("https://bob:secret@cache.example/x?rev=1&token=secret: HTTP 403")
    'https://…@cache.example/x?rev=1&token=…: HTTP 403'
    """
    if "@" in text:
        text = _USER_ALONE.sub(f"{LEFT_OUT}@", _USER.sub(_without_user, text))
    return _WORD.sub(_without_values, text) if "?" in text else text


def has_secrets(url: str) -> bool:
    """Whether something of a URL would be left out."""
    return without_secrets(url) != url


def document_without_secrets(value: Any) -> Any:
    """A JSON value whose every string, also those that name members, is without secrets."""
    match value:
        case str():
            return without_secrets(value)
        case dict():
            return {
                without_secrets(name): document_without_secrets(each)
                for name, each in value.items()
            }
        case list() | tuple():
            return [document_without_secrets(each) for each in value]
        case _:
            return value


def _without_user(found: re.Match[str]) -> str:
    if ":" not in found[1] and found.string.endswith(_SSH, 0, found.start()):
        return found[0]
    return f"://{LEFT_OUT}@"


def _without_values(found: re.Match[str]) -> str:
    word = found[0]
    place, mark, rest = word.partition("?")
    # The name of a store path may have a question mark, too.
    if not mark or not (":" in place or "/" in place) or place.startswith(_STORE):
        return word
    query, hash_sign, fragment = rest.partition("#")
    shown = query.rstrip(_PUNCTUATION)
    after = query[len(shown) :]
    words = (each if n % 2 else _shown(each) for n, each in enumerate(_SEPARATOR.split(shown)))
    return f"{place}?{''.join(words)}{after}{hash_sign}{fragment}"


def _shown(word: str) -> str:
    name, equals, value = word.partition("=")
    if not word or (equals and (name in HARMLESS or not value)):
        return word
    return f"{name}={LEFT_OUT}" if equals else LEFT_OUT
