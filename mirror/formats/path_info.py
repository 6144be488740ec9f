"""What a store knows of a path: hash, size, references, signatures.

A :class:`PathInfo` is a *claim* when it comes from a narinfo or a server, and knowledge once the
verifier (:mod:`mirror.formats.verifier`) has read the path's last byte; the two have different
types (:class:`PathInfo`, ``VerifiedPath``), and only the second can be committed anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.formats.hashes import Hash
    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class PathInfo:
    """A path and what is said of it.

    ``nar_hash`` is the SHA-256 of its uncompressed NAR and ``nar_size`` that NAR's length in bytes;
    ``references`` are sorted and may include the path itself; ``content_address`` is
    ``fixed:[r:]<algo>:<base32>`` or ``text:sha256:<base32>`` where the path's name follows from its
    content, else None; ``signatures`` are ``<key name>:<base64>``.
    """

    path: StorePath
    nar_hash: Hash
    nar_size: int
    references: tuple[StorePath, ...] = ()
    deriver: StorePath | None = None
    signatures: tuple[str, ...] = ()
    content_address: str | None = None
