"""Store paths that follow from their content.

``path = base32(fold20(sha256("<type>:sha256:<inner hash>:/nix/store:<name>")))``, where the type
and the inner hash depend on how the content is addressed:

=================  =====================================  ========================================
content address    type                                   inner hash
=================  =====================================  ========================================
``fixed:r:sha256`` ``source[:reference…][:self]``         the NAR's hash
``fixed:[r:]…``    ``output:out``                         sha256 of ``fixed:out:[r:]algo:base16:``
``text:sha256``    ``text[:reference…]``                  the text's hash
=================  =====================================  ========================================

Source: Nix's ``src/libstore/store-api.cc`` and ``content-address.cc``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

from mirror.errors import FormatError
from mirror.formats import base32
from mirror.formats.hashes import Hash
from mirror.formats.store_path import STORE_DIRECTORY, StorePath

if TYPE_CHECKING:
    from collections.abc import Iterable

_FOLDED_SIZE: Final = 20


def fixed_output_path(
    name: str,
    *,
    hash: Hash,  # noqa: A002 - the word of Nix and of every caller
    recursive: bool,
    references: Iterable[StorePath] = (),
    refers_to_itself: bool = False,
) -> StorePath:
    """The path of a fixed output; ``recursive``: the hash is of its NAR, not of a file's bytes.

    ``references`` are those to other paths.

    Raises:
        FormatError: ``name`` cannot name a path, or only a NAR's SHA-256 could have references.

    """
    references = sorted(set(references))
    if recursive and hash.algorithm == "sha256":
        kind = ":".join(["source", *references, *(["self"] if refers_to_itself else [])])
        return make_store_path(kind, hash, name)
    if references or refers_to_itself:
        raise FormatError(
            f"{name} has references, which a path addressed by {'r:' * recursive}{hash.algorithm} "
            "cannot have"
        )
    inner = f"fixed:out:{'r:' * recursive}{hash.algorithm}:{hash.base16}:"
    return make_store_path("output:out", Hash.of(inner.encode()), name)


def text_path(
    name: str,
    *,
    hash: Hash,  # noqa: A002 - the word of Nix and of every caller
    references: Iterable[StorePath] = (),
) -> StorePath:
    """The path of a text (``builtins.toFile``, a ``.drv``); ``hash`` is the text's SHA-256.

    Raises:
        FormatError: ``name`` cannot name a path, or the hash is not a SHA-256.

    """
    if hash.algorithm != "sha256":
        raise FormatError(f"a text is addressed by its sha256, not by {hash.algorithm}: {name}")
    return make_store_path(":".join(["text", *sorted(set(references))]), hash, name)


def make_store_path(kind: str, inner: Hash, name: str) -> StorePath:
    """The path of type ``kind`` whose inner hash, a SHA-256, is ``inner``.

    Raises:
        FormatError: ``name`` cannot name a path.

    """
    text = f"{kind}:sha256:{inner.base16}:{STORE_DIRECTORY}:{name}"
    digest = Hash.of(text.encode("utf-8", "surrogateescape")).digest
    folded = bytearray(_FOLDED_SIZE)
    for position, byte in enumerate(digest):
        folded[position % _FOLDED_SIZE] ^= byte
    return StorePath.from_base_name(f"{base32.encode(bytes(folded))}-{name}")


@dataclass(frozen=True, slots=True)
class ContentAddress:
    """What a path's content is known by: ``fixed:[r:]<algo>:<base32>``, ``text:sha256:<base32>``.

    ``method`` is ``flat`` (the hash is of the bytes of a file that is not executable), ``nar`` (of
    the NAR) or ``text`` (of a file's bytes; the file may refer to other paths).
    """

    method: Literal["flat", "nar", "text"]
    hash: Hash

    def __post_init__(self) -> None:
        if self.method == "text" and self.hash.algorithm != "sha256":
            raise FormatError(f"a text is addressed by its sha256, not by {self.hash.algorithm}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a content address as narinfo files and Nix's database have it.

        Raises:
            FormatError: it is none, or of a kind that is not supported (git trees).

        """
        kind, _, rest = text.partition(":")
        try:
            if kind == "text":
                return cls("text", Hash.parse(rest))
            if kind == "fixed" and rest.startswith("r:"):
                return cls("nar", Hash.parse(rest[len("r:") :]))
            if kind == "fixed":
                return cls("flat", Hash.parse(rest))
        except FormatError as error:
            raise FormatError(f"not a content address: {text!r}: {error.message}") from error
        raise FormatError(f"not a content address: {text!r}")

    def __str__(self) -> str:
        kind = {"flat": "fixed:", "nar": "fixed:r:", "text": "text:"}[self.method]
        return f"{kind}{self.hash.nix32}"

    def path(
        self, name: str, references: Iterable[StorePath] = (), *, refers_to_itself: bool = False
    ) -> StorePath:
        """The store path of such content with these references to other paths.

        Raises:
            FormatError: content of this kind cannot have such references, or ``name`` is none.

        """
        if self.method != "text":
            return fixed_output_path(
                name,
                hash=self.hash,
                recursive=self.method == "nar",
                references=references,
                refers_to_itself=refers_to_itself,
            )
        if refers_to_itself:
            raise FormatError(f"{name} is a text that refers to itself, which cannot be")
        return text_path(name, hash=self.hash, references=references)
