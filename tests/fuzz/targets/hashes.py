"""Base32, hashes, content addresses and store paths: what is read is one value, however written.

An input is one of these in each line.
"""

from __future__ import annotations

import contextlib
from typing import Final

from fuzz.target import Target, plain
from mirror.errors import FormatError
from mirror.formats import base32
from mirror.formats.content_address import ContentAddress
from mirror.formats.hashes import Hash
from mirror.formats.store_path import StorePath


def _check(data: bytes) -> None:
    read = 0
    for line in data.decode(errors="surrogateescape").split("\n"):
        for reader in (_base32, _hash, _content_address, _store_path):
            with contextlib.suppress(FormatError):
                reader(line)
                read += 1
    if not read:
        raise FormatError("nothing can be read")


def _base32(text: str) -> None:
    assert base32.encode(base32.decode(text)) == text


def _hash(text: str) -> None:
    for algorithm in (None, "sha256"):
        with contextlib.suppress(FormatError):
            found = Hash.parse(text, algorithm)
            for written in (found.sri, found.nix32, f"{found.algorithm}:{found.base16}"):
                assert Hash.parse(written) == found
            for written in (found.base16, found.base32):
                assert Hash.parse(written, found.algorithm) == found


def _content_address(text: str) -> None:
    address = ContentAddress.parse(text)
    assert ContentAddress.parse(str(address)) == address
    assert address.path("name").name == "name"


def _store_path(text: str) -> None:
    path = StorePath.from_base_name(text)
    assert path.startswith("/nix/store/")
    assert "/" not in path.base_name
    assert StorePath.parse(path) == path
    assert path.base_name == f"{path.hash_part}-{path.name}"


TARGET: Final = Target(
    name="hashes",
    checking=plain(_check),
    words=(
        *(b"sha256:", b"sha256-", b"sha1:", b"md5:", b"sha512-", b"blake3-", b"fixed:", b"r:"),
        *(b"text:", b"=", b"==", b" ", b"+", b"/", b"-", b"\xc2\xa0", b"\xd9\xa3", b"-.-", b"-.."),
        b"0" * 32,
    ),
    executions=700,
    longest=1_000,
)
