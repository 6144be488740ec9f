"""narinfo files: what is read means the same once written, and leads nowhere outside its cache."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import httpx

from fuzz.target import Target, plain
from mirror.errors import FormatError, IntegrityError
from mirror.formats.narinfo import parse_narinfo, print_narinfo
from mirror.formats.signing import TrustedKeys
from mirror.formats.verifier import Claim, NarVerifier, matching_content_address
from mirror.sources.caches.binary_cache import BinaryCache
from mirror.sources.caches.signature_checks import SignatureChecks
from mirror.sources.local_files import path_of
from mirror.sources.server_errors import MissingError

if TYPE_CHECKING:
    from mirror.sources.http.client import HttpClient


_DIRECTORY: Final = "/srv/cache"
_CACHES: Final = [
    BinaryCache(
        name=name,
        url=name,
        _base=name,
        priority=0,
        trusted=False,
        wants_mass_queries=False,
        _client=cast("HttpClient", None),
        _signatures=SignatureChecks(TrustedKeys()),
    )
    for name in (f"file://{_DIRECTORY}", "https://cache.example:444/cache")
]


def _check(data: bytes) -> None:
    narinfo = parse_narinfo(data)
    info = narinfo.info
    assert list(info.references) == sorted(set(info.references))
    assert 0 < info.nar_size < 1 << 64
    with contextlib.suppress(FormatError):
        matching_content_address(info)
    assert TrustedKeys().verify(info) is None
    with contextlib.suppress(IntegrityError):
        NarVerifier(Claim(info=info, compression=narinfo.compression))
    for cache in _CACHES:
        with contextlib.suppress(IntegrityError, MissingError, httpx.InvalidURL):
            _is_inside(cache, cache._nar_url(narinfo))
    assert parse_narinfo(print_narinfo(narinfo)) == narinfo


def _is_inside(cache: BinaryCache, url: str) -> None:
    """See where the NAR would be looked for: at the cache's own server, in its own directory."""
    if url.startswith("file:"):
        place = os.path.normpath(path_of(url))
        assert Path(place).is_relative_to(_DIRECTORY)
        assert place != _DIRECTORY
        return
    asked, own = httpx.URL(url), httpx.URL(cache.name)
    assert (asked.scheme, asked.host, asked.port) == (own.scheme, own.host, own.port)


TARGET: Final = Target(
    name="narinfo",
    checking=plain(_check),
    words=(
        *(b"StorePath: ", b"URL: ", b"Compression: ", b"FileHash: ", b"FileSize: ", b"NarHash: "),
        *(b"NarSize: ", b"References: ", b"Deriver: ", b"Sig: ", b"CA: ", b"unknown-deriver"),
        *(
            b"sha256:",
            b"sha512:",
            b"fixed:r:",
            b"text:",
            b"nar/../../x",
            b"http://[",
            b"\r",
            b"https://cache.example:444",
        ),
        *(b"%2e%2e", b"..", b"/", b"//", b"?", b"#", b"\\", b"\t", b"@evil/", b"file:", b":443"),
        *(b"\xe2\x80\xa8", b"\x85", b"18446744073709551616", b"\xd9\xa3"),
    ),
)
