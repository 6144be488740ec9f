"""Hashes and the four ways in which Nix writes them.

``base16`` is hexadecimal; ``nix32`` is Nix's own base32 (:mod:`mirror.formats.base32`);
``base64`` and ``sri`` (``sha256-<base64>``) are standard. Source: Nix's ``src/libutil/hash.cc``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final, Protocol, Self

from mirror.errors import FormatError
from mirror.formats import base32

SIZES: Final = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
"""The algorithms that can be computed here, with their digests' sizes in bytes.

Nix knows ``blake3`` too, as an experimental feature: such a hash can be read and compared, and
what needs it computed is left to Nix.
"""

_READABLE: Final = {**SIZES, "blake3": 32}


@dataclass(frozen=True, slots=True, order=True)
class Hash:
    """A digest with its algorithm (``md5``, ``sha1``, ``sha256``, ``sha512`` or ``blake3``)."""

    algorithm: str
    digest: bytes

    def __post_init__(self) -> None:
        size = _READABLE.get(self.algorithm)
        if size is None:
            raise FormatError(f"unknown hash algorithm {self.algorithm!r}")
        if len(self.digest) != size:
            raise FormatError(f"a {self.algorithm} hash has {size} bytes, not {len(self.digest)}")

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """The hash of ``data``."""
        return cls(algorithm, new(algorithm, data).digest())

    @classmethod
    def parse(cls, text: str, algorithm: str | None = None) -> Self:
        """Read ``algo:digest`` or ``algo-base64`` or, with ``algorithm`` given, a bare digest.

        The digest's length tells whether it is base16, base32 or base64.

        Raises:
            FormatError: it is none of these, or of another algorithm than ``algorithm``.

        """
        for separator in (":", "-"):
            named, found, digest = text.partition(separator)
            if found and named in _READABLE:
                if algorithm is not None and named != algorithm:
                    raise FormatError(f"expected a {algorithm} hash: {text!r}")
                return cls(named, _decode(digest, named, text))
        if algorithm is None:
            raise FormatError(f"a hash without its algorithm: {text!r}")
        return cls(algorithm, _decode(text, algorithm, text))

    @property
    def base16(self) -> str:
        """The digest in lower-case hexadecimal."""
        return self.digest.hex()

    @property
    def base32(self) -> str:
        """The digest in Nix's base32, without the algorithm."""
        return base32.encode(self.digest)

    @property
    def nix32(self) -> str:
        """``algo:base32``, as narinfo files have it."""
        return f"{self.algorithm}:{self.base32}"

    @property
    def sri(self) -> str:
        """``algo-base64``, as nixpkgs and the web have it."""
        return f"{self.algorithm}-{base64.b64encode(self.digest).decode()}"

    @property
    def is_zero(self) -> bool:
        """Whether it is the placeholder that ``outputHash = ""`` leaves behind."""
        return not any(self.digest)

    @property
    def is_computable(self) -> bool:
        """Whether :func:`new` knows its algorithm."""
        return self.algorithm in SIZES

    def __str__(self) -> str:
        return self.sri


class Digest(Protocol):
    """The interface of the standard library's hash objects."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Feed it more."""

    def digest(self) -> bytes:
        """The hash of all that it was fed."""

    def copy(self) -> Self:
        """An independent copy, which was fed the same so far."""


def new(algorithm: str, data: bytes = b"") -> Digest:
    """A hash object that has been fed ``data``.

    Raises:
        FormatError: the algorithm cannot be computed here (:data:`SIZES`).

    """
    if algorithm not in SIZES:
        raise FormatError(f"hashes of algorithm {algorithm!r} cannot be computed here")
    return hashlib.new(algorithm, data, usedforsecurity=False)


def _decode(digest: str, algorithm: str, text: str) -> bytes:
    size = _READABLE.get(algorithm)
    if size is None:
        raise FormatError(f"unknown hash algorithm {algorithm!r}")
    try:
        if len(digest) == 2 * size:
            return bytes.fromhex(digest)
        if len(digest) == base32.encoded_length(size):
            return base32.decode(digest)
        decoded = base64.b64decode(digest, validate=True)
    except (ValueError, binascii.Error) as error:
        raise FormatError(f"not a {algorithm} hash: {text!r}") from error
    if len(decoded) != size:
        raise FormatError(f"not a {algorithm} hash: {text!r}")
    return decoded
