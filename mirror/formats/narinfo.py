"""narinfo: what a binary cache says of one path.

Lines ``Name: value``, at ``<hash part>.narinfo`` in the cache::

    StorePath: /nix/store/…-hello-2.12
    URL: nar/….nar.xz
    Compression: xz
    FileHash: sha256:…
    FileSize: 50088
    NarHash: sha256:…
    NarSize: 226488
    References: …-glibc-2.38 …-hello-2.12
    Deriver: ….drv
    Sig: cache.nixos.org-1:…
    CA: fixed:r:sha256:…

``StorePath``, ``URL``, ``NarHash`` and ``NarSize`` are required, and ``Sig`` may come again. No
``Compression`` means bzip2. Source: Nix's ``src/libstore/nar-info.cc``.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError
from mirror.formats.compression import METHODS
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import Iterator

_KNOWN: Final = frozenset(
    {
        "StorePath",
        "URL",
        "Compression",
        "FileHash",
        "FileSize",
        "NarHash",
        "NarSize",
        "References",
        "Deriver",
        "CA",
    }
)
_SIGNATURE: Final = "Sig"
_SIGNATURE_VALUE: Final = re.compile(r"[^:\s]+:[A-Za-z0-9+/]{85}[AQgw]==")
"""A key's name, and the 64 bytes of an Ed25519 signature, in the one form that they have."""
_MALFORMED_SIGNATURE: Final = re.compile(rb"^Sig: (?![^:\n]+:[A-Za-z0-9+/]{86}==$)", re.MULTILINE)
_NO_DERIVER: Final = "unknown-deriver"
_COMPRESSION_IF_ABSENT: Final = "bzip2"
_SIZE_LIMIT: Final = 1 << 64

# A path is referred to by many others: checked once, and one object instead of many.
_reference = functools.lru_cache(maxsize=1 << 16)(StorePath.from_base_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class NarInfo:
    """A path's :class:`PathInfo` and the compressed file that holds its NAR.

    ``url`` is relative to the cache; ``compression`` is one of
    :data:`mirror.formats.compression.METHODS`; ``file_hash`` and ``file_size`` (bytes) are of the
    compressed file, and may be unknown.
    """

    info: PathInfo
    url: str
    compression: str
    file_hash: Hash | None = None
    file_size: int | None = None


def parse_narinfo(data: bytes) -> NarInfo:
    """Read a narinfo. Fields of unknown names are ignored; how long it may be is up to callers.

    So are signatures that are none: newer Nix refuses the whole file for one of them, so it must
    not be written again.

    Raises:
        FormatError: it is not a narinfo, lacks a required field, has a field twice, or is
            compressed in a way that is not known here.

    """
    try:
        fields, signatures = _fields(data)
        return _narinfo(fields, signatures)
    except FormatError as error:
        raise FormatError(f"not a narinfo: {error.message}") from error


def has_malformed_signature(data: bytes) -> bool:
    """Whether a narinfo has a signature that is none: Nix may fail at the whole file for it."""
    return _MALFORMED_SIGNATURE.search(data) is not None


def print_narinfo(narinfo: NarInfo) -> bytes:
    """Write a narinfo, its fields in Nix's order.

    Raises:
        FormatError: a value has a line break.

    """
    text = ""
    for name, value in _lines(narinfo):
        if "\n" in value or "\r" in value:
            raise FormatError(f"a line break in {name} of {narinfo.info.path}: {value!r}")
        text += f"{name}: {value}\n"
    return text.encode()


def _fields(data: bytes) -> tuple[dict[str, str], list[str]]:
    """The lines' values by name, and the signatures."""
    # What is not UTF-8 does no harm in what is ignored.
    text = data.decode(errors="surrogateescape")
    if not text.endswith("\n"):
        raise FormatError("its last line does not end")
    fields: dict[str, str] = {}
    signatures: list[str] = []
    for line in text[:-1].split("\n"):
        name, separator, value = line.partition(":")
        if not separator:
            raise FormatError(f"a line without `name: value`: {line!r}")
        # Nix takes whatever is there for the space, and an empty value may have lost it.
        value = value[1:]
        if name == _SIGNATURE:
            if _SIGNATURE_VALUE.fullmatch(value) and _is_unicode(value):
                signatures.append(value)
        elif name in fields:
            raise FormatError(f"{name} twice")
        elif name in _KNOWN:
            if not _is_unicode(value):
                raise FormatError(f"{name} is not UTF-8: {value!r}")
            fields[name] = value
    return fields, signatures


def _is_unicode(value: str) -> bool:
    """Whether it was UTF-8, with nothing in it that stands for other bytes."""
    return value.isascii() or not any("\udc80" <= each <= "\udcff" for each in value)


def _narinfo(fields: dict[str, str], signatures: list[str]) -> NarInfo:
    for name in ("StorePath", "URL", "NarHash", "NarSize"):
        if not fields.get(name):
            raise FormatError(f"{name} is missing")
    path = StorePath.parse(fields["StorePath"])
    nar_hash = Hash.parse(fields["NarHash"])
    if nar_hash.algorithm != "sha256":
        raise FormatError(f"NarHash is a {nar_hash.algorithm}, not a sha256")
    nar_size = _size("NarSize", fields["NarSize"])
    if nar_size == 0:
        raise FormatError("NarSize is 0")
    compression = fields.get("Compression") or _COMPRESSION_IF_ABSENT
    if compression not in METHODS:
        raise FormatError(f"Compression {compression!r} is unknown; known are {', '.join(METHODS)}")
    references = set(map(_reference, fields.get("References", "").split()))
    deriver = fields.get("Deriver")
    return NarInfo(
        info=PathInfo(
            path=path,
            nar_hash=nar_hash,
            nar_size=nar_size,
            references=tuple(sorted(references)),
            deriver=(_reference(deriver) if deriver and deriver != _NO_DERIVER else None),
            signatures=tuple(signatures),
            content_address=fields.get("CA") or None,
        ),
        url=fields["URL"],
        compression=compression,
        file_hash=Hash.parse(fields["FileHash"]) if fields.get("FileHash") else None,
        file_size=_size("FileSize", fields["FileSize"]) if fields.get("FileSize") else None,
    )


def _size(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(_SIZE_LIMIT)):
        raise FormatError(f"{name} is not a size: {text[:40]!r}")
    size = int(text)
    if size >= _SIZE_LIMIT:
        raise FormatError(f"{name} is not a size: {text!r}")
    return size


def _lines(narinfo: NarInfo) -> Iterator[tuple[str, str]]:
    info = narinfo.info
    yield "StorePath", info.path
    yield "URL", narinfo.url
    yield "Compression", narinfo.compression
    if narinfo.file_hash is not None:
        yield "FileHash", narinfo.file_hash.nix32
    if narinfo.file_size is not None:
        yield "FileSize", str(narinfo.file_size)
    yield "NarHash", info.nar_hash.nix32
    yield "NarSize", str(info.nar_size)
    yield "References", " ".join(reference.base_name for reference in info.references)
    if info.deriver is not None:
        yield "Deriver", info.deriver.base_name
    for signature in info.signatures:
        yield _SIGNATURE, signature
    if info.content_address is not None:
        yield "CA", info.content_address
