"""What a request's path asks for, and that nothing else can be asked for."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.formats.hashes import Hash
from mirror.serve.http.routes import (
    FileOf,
    InputArchive,
    NarFile,
    NarInfoOf,
    Page,
    is_suspicious,
    kind_of,
    route,
)

PART = "0c5b8vw40dy178xlpddw65q9gf1h2186"
DIGEST = Hash.of(b"a source")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", Page.STATUS),
        ("/?utm=1", Page.STATUS),
        ("/status.json", Page.STATUS_DOCUMENT),
        ("/metrics", Page.METRICS),
        ("/nix-cache-info", Page.CACHE_INFO),
        (f"/{PART}.narinfo", NarInfoOf(PART)),
        ("/nar/1abc.nar.xz", NarFile("1abc.nar.xz")),
        (f"/inputs/{PART}.tar", InputArchive(PART)),
    ],
)
def test_what_there_is(target: str, expected: object) -> None:
    assert route(target) == expected


@pytest.mark.parametrize(
    "target",
    [
        # Nix itself, for its setting hashed-mirrors
        f"/sha256/{DIGEST.base16}",
        # fetchurl of nixpkgs, with an old hash and with an SRI one (its algorithm is then empty)
        f"/sha256/{DIGEST.base32}",
        f"//{DIGEST.sri}",
        f"/sha256/{DIGEST.sri}",
        # a browser or a script that encodes
        f"/sha256/{quote(base64.b64encode(DIGEST.digest).decode(), safe='')}",
        f"/{quote(DIGEST.sri, safe='')}",
    ],
)
def test_every_way_to_ask_a_hashed_mirror(target: str) -> None:
    assert route(target) == FileOf(DIGEST)


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
@given(data=st.binary(max_size=20))
def test_any_hash_in_any_writing(algorithm: str, data: bytes) -> None:
    digest = Hash.of(data, algorithm)
    for written in (digest.base16, digest.base32, base64.b64encode(digest.digest).decode()):
        assert route(f"/{algorithm}/{written}") == FileOf(digest)


@pytest.mark.parametrize(
    "target",
    [
        "/.prefetch/lock",
        "/generations/pi/1.json",
        "/public-keys",
        "/nar/",
        "/nar/.hidden",
        "/nar/../nix-cache-info",
        "/nar/..%2f..%2fetc%2fpasswd",
        "/nar/a/b",
        "/nar/a%00b",
        "nar/abc.nar",
        "*",
        "http://other/nar/abc.nar",
        f"/{PART}.narinfo/",
        f"/{PART.upper()}.narinfo",
        f"/{'e' * 32}.narinfo",
        f"/inputs/{PART}.tar.gz",
        "/sha256/",
        "/sha256/abc",
        f"/sha512/{DIGEST.base16}",
        f"/blake3/{DIGEST.base16}",
        f"/sha256/{'0' * 1000}",
        "",
    ],
)
def test_what_there_is_not(target: str) -> None:
    assert route(target) is None
    assert kind_of(route(target)) == "nothing"


@given(st.text(max_size=300))
def test_any_text_is_a_route_or_none_and_a_nar_s_name_stays_in_its_directory(text: str) -> None:
    found = route(f"/{text}")
    if isinstance(found, NarFile):
        assert "/" not in found.name
        assert not found.name.startswith(".")


@pytest.mark.parametrize("path", ["/../x", "/nar/%2e%2e/x", "/nar/%252e%252e%252fx"])
def test_attempts_to_leave_are_noticed(path: str) -> None:
    assert is_suspicious(path)
    assert not is_suspicious(f"/nar/abc.nar?from={path}")
