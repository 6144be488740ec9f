"""Signatures of store paths: Ed25519 over a path's fingerprint.

Keys are written ``name:base64``; of a secret key the bytes are the seed and then the public key. A
signature is written ``name:base64`` too, with the name of its key. Source: Nix's
``src/libstore/path-info.cc`` (``fingerprint``) and ``src/libutil/signature``.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from mirror.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.formats.path_info import PathInfo

_SEED_SIZE: Final = 32
_KEY_SIZE: Final = 32
_SIGNATURE_SIZE: Final = 64
_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/]")


def fingerprint(info: PathInfo) -> bytes:
    """What a signature of the path signs: path, NAR hash, NAR size, references."""
    references = ",".join(info.references)
    text = f"1;{info.path};{info.nar_hash.nix32};{info.nar_size};{references}"
    return text.encode(errors="surrogateescape")  # as a damaged narinfo may have it


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key, which verifies signatures."""

    name: str
    key: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``name:base64``.

        Raises:
            FormatError: it is no public key.

        """
        try:
            return cls(*_split(text, _KEY_SIZE))
        except FormatError as error:
            raise FormatError(f"not a public key: {shown(text)!r}: {error.message}") from error

    def __str__(self) -> str:
        return _join(self.name, self.key)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` (64 bytes) is this key's, of ``message``."""
        try:
            VerifyKey(self.key).verify(message, signature)
        except BadSignatureError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A secret key, which signs paths. Only ``str`` reveals its seed."""

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> Self:
        """A new key, from the system's randomness.

        Raises:
            FormatError: ``name`` is empty or has a colon or white space.

        """
        _check_name(name)
        return cls(name, bytes(SigningKey.generate()))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``name:base64(seed‖public key)``; white space around it is ignored.

        Raises:
            FormatError: it is no secret key. The text does not repeat it.

        """
        try:
            name, data = _split(text.strip(), _SEED_SIZE + _KEY_SIZE)
        except FormatError as error:
            raise FormatError(f"not a secret key: {error.message}") from None
        key = cls(name, data[:_SEED_SIZE])
        if key.public.key != data[_SEED_SIZE:]:
            raise FormatError(f"not a secret key: the two halves of {name!r} do not fit")
        return key

    def __str__(self) -> str:
        return _join(self.name, self.seed + self.public.key)

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        return PublicKey(self.name, bytes(SigningKey(self.seed).verify_key))

    def sign(self, message: bytes) -> str:
        """The signature of ``message``, as narinfo files have it."""
        return _join(self.name, SigningKey(self.seed).sign(message).signature)


class TrustedKeys:
    """The keys whose signatures count."""

    def __init__(self, keys: Iterable[PublicKey] = ()) -> None:
        self._keys: dict[str, list[PublicKey]] = {}
        for key in keys:
            self._keys.setdefault(key.name, []).append(key)
        self._texts = {str(key) for each in self._keys.values() for key in each}

    def __iter__(self) -> Iterator[PublicKey]:
        """Each of the keys."""
        return (key for each in self._keys.values() for key in each)

    def __contains__(self, key: str) -> bool:
        """Whether a public key, as ``str`` writes it, is one of them."""
        return key in self._texts

    @property
    def names(self) -> frozenset[str]:
        """The names of the keys."""
        return frozenset(self._keys)

    def verify(self, info: PathInfo) -> PublicKey | None:
        """The first key whose signature of ``info`` verifies, None if none does.

        Signatures that cannot be read, or are of other keys, are passed over.
        """
        message = fingerprint(info)
        for text in info.signatures:
            try:
                name, signature = _split(text, _SIGNATURE_SIZE)
            except FormatError:
                continue
            for key in self._keys.get(name, ()):
                if key.verifies(signature, message):
                    return key
        return None

    def verify_as_nix(
        self, info: PathInfo, signatures: Iterable[str], *, reads_every: bool
    ) -> bool:
        """Whether one of the ``signatures``, as a narinfo has them, is taken by Nix.

        Nix decodes base64 up to the first ``=``, and does not look at what follows it.
        ``reads_every``: it reads all signatures, as 2.34 does, not only those of keys that it
        trusts, as 2.8 does.

        Raises:
            FormatError: Nix fails at one of them.

        """
        message = fingerprint(info)
        is_signed = False
        for text in signatures:
            name, colon, encoded = text.partition(":")
            keys = self._keys.get(name, []) if colon else []
            if reads_every and not (name and encoded):
                raise FormatError(f"a signature is malformed: {text!r}")
            if not (reads_every or keys):
                continue
            signature = _decoded_by_nix(encoded)
            if keys and len(signature) != _SIGNATURE_SIZE:
                raise FormatError(f"a signature by {name} has {len(signature)} bytes")
            is_signed |= any(key.verifies(signature, message) for key in keys)
        return is_signed


def shown(text: str) -> str:
    """How to show a malformed key in an error, without its secret part.

    >>> shown("cache-1:c2VjcmV0")
    'cache-1:…'
    """
    name, colon, _ = text.partition(":")
    return f"{name}:…" if colon else text


def _check_name(name: str) -> None:
    if not name or ":" in name or any(character.isspace() for character in name):
        raise FormatError(f"a key cannot be called {name!r}")


def _join(name: str, data: bytes) -> str:
    return f"{name}:{base64.b64encode(data).decode()}"


def _decoded_by_nix(text: str) -> bytes:
    """Decode base64 as Nix does, which ignores padding and leftover bits."""
    digits = text.partition("=")[0]
    if (found := _NOT_BASE64.search(digits)) is not None:
        raise FormatError(f"a signature has {found[0]!r}, which is not of base64")
    size = len(digits) * 6 // 8
    return base64.b64decode(digits + "A" * (-len(digits) % 4))[:size]


def _split(text: str, size: int) -> tuple[str, bytes]:
    """The name, and ``size`` bytes of base64 after a colon."""
    name, colon, encoded = text.partition(":")
    if not colon:
        raise FormatError("there is no colon after the name")
    _check_name(name)
    try:
        data = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as error:
        raise FormatError(f"what follows {name!r} is not base64") from error
    if len(data) != size:
        raise FormatError(f"{len(data)} bytes follow {name!r}, not {size}")
    return name, data
