"""Keys and signatures: only the very signature of a trusted key counts.

An input is a key or a signature in each line.
"""

from __future__ import annotations

import base64
import contextlib
from typing import Final

from fuzz.target import Target, plain
from mirror.errors import FormatError
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.signing import PublicKey, SecretKey, TrustedKeys, fingerprint
from mirror.formats.store_path import StorePath

_KEY: Final = SecretKey("fuzz-1", bytes(range(32)))
_INFO: Final = PathInfo(
    path=StorePath.parse(f"/nix/store/{'0' * 32}-x"), nar_hash=Hash.of(b""), nar_size=1
)
_SIGNATURE: Final = _KEY.sign(fingerprint(_INFO))


def _check(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    read = 0
    for line in text.split("\n"):
        for kind in (PublicKey, SecretKey):
            with contextlib.suppress(FormatError):
                key = kind.parse(line)
                assert kind.parse(str(key)) == key
                read += 1
        signed = PathInfo(
            path=_INFO.path, nar_hash=_INFO.nar_hash, nar_size=1, signatures=(line, line[1:])
        )
        if TrustedKeys([_KEY.public]).verify(signed) is not None:
            name, _, encoded = line.partition(":")
            right, _, signature = _SIGNATURE.partition(":")
            assert name == right
            assert base64.b64decode(encoded) == base64.b64decode(signature)
            read += 1
    if not read:
        raise FormatError("nothing can be read")


TARGET: Final = Target(
    name="keys",
    checking=plain(_check),
    words=(
        *(_SIGNATURE.encode(), str(_KEY).encode(), str(_KEY.public).encode(), b":", b"=", b"\t"),
        base64.b64encode(bytes(64)),
    ),
    executions=700,
    longest=1_000,
)
