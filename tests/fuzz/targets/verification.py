"""The verifier: what it lets pass are the bytes that were claimed, however they were compressed.

The first byte of an input chooses the compression, the rest arrives instead of the claimed NAR.
"""

from __future__ import annotations

from typing import Final

from fuzz.target import CORPUS, Target, plain
from mirror.errors import IntegrityError
from mirror.formats.compression import METHODS
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath
from mirror.formats.verifier import Claim, NarVerifier

_NAR: Final = (CORPUS / "nar/tree.nar").read_bytes()
_INFO: Final = PathInfo(
    path=StorePath.parse(f"/nix/store/{'0' * 32}-tree"),
    nar_hash=Hash.of(_NAR),
    nar_size=len(_NAR),
)


def _check(data: bytes) -> None:
    method = METHODS[data[0] % len(METHODS)] if data else "none"
    verifier = NarVerifier(Claim(info=_INFO, compression=method))
    given = b"".join(verifier.feed(data[1:]))
    verified = verifier.finish()
    assert given == _NAR
    assert verified.file_hash == Hash.of(data[1:])


TARGET: Final = Target(name="verification", checking=plain(_check), refusals=(IntegrityError,))
