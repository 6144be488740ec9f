"""narinfo files: what is read means the same once written, and leads nowhere outside its cache."""

from __future__ import annotations

import contextlib
from typing import Final

from fuzz.target import Target, plain
from mirror.errors import FormatError, IntegrityError
from mirror.formats.narinfo import parse_narinfo, print_narinfo
from mirror.formats.signing import TrustedKeys
from mirror.formats.verify import Claim, NarVerifier, matching_content_address


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
    # Only a line break of its own kind, within a value, is not written.
    assert parse_narinfo(print_narinfo(narinfo)) == narinfo


TARGET: Final = Target(
    name="narinfo",
    checking=plain(_check),
    words=(
        *(b"StorePath: ", b"URL: ", b"Compression: ", b"FileHash: ", b"FileSize: ", b"NarHash: "),
        *(b"NarSize: ", b"References: ", b"Deriver: ", b"Sig: ", b"CA: ", b"unknown-deriver"),
        *(b"sha256:", b"sha512:", b"fixed:r:", b"text:", b"nar/../../x", b"http://[", b"\r"),
        *(b"\xe2\x80\xa8", b"\x85", b"18446744073709551616", b"\xd9\xa3"),
    ),
)
