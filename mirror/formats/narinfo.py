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

``StorePath``, ``URL``, ``NarHash`` and ``NarSize`` are required; no ``Compression`` means bzip2.
Each is read as Nix reads it: a name reaches to the next colon, whatever follows that stands for the
space, and a value reaches to the end of its line. Of a field that comes again the last one counts,
save that there is one list of references and one content address, and that each ``Sig`` counts.

``FileHash`` and ``FileSize`` are not compared with anything by Nix, and several servers have them
wrong: those that decompress what they have, or compress it as they send it. Source: Nix's
``src/libstore/nar-info.cc``.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from mirror.errors import FormatError
from mirror.formats.compression import METHODS
from mirror.formats.content_address import ContentAddress
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import HASH_LENGTH, STORE_DIRECTORY, StorePath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Value = TypeVar("_Value")

_SIGNATURE: Final = "Sig"
_SIGNATURE_VALUE: Final = re.compile(r"[^:\s]+:[A-Za-z0-9+/]{85}[AQgw]==")
"""A key's name, and the 64 bytes of an Ed25519 signature, in the one form that they have."""
_NO_DERIVER: Final = "unknown-deriver"
_COMPRESSION_IF_ABSENT: Final = "bzip2"
_SIZE: Final = re.compile(r"\+?0*([0-9]{1,20})")
_SIZE_LIMIT: Final = 1 << 64
_FRAMING: Final = 1 << 16
"""More than the headers of a compressed file of nothing take, in bytes."""

# A path is referred to by many others: checked once, and one object instead of many.
_reference = functools.lru_cache(maxsize=1 << 16)(StorePath.from_base_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class NarInfo:
    """A path's :class:`PathInfo` and the compressed file that holds its NAR.

    ``url`` is relative to the cache; ``compression`` is one of
    :data:`mirror.formats.compression.METHODS`; ``file_hash`` and ``file_size`` (bytes) are said to
    be of the compressed file, and may be unknown.
    """

    info: PathInfo
    url: str
    compression: str
    file_hash: Hash | None = None
    file_size: int | None = None

    @property
    def download_size(self) -> int | None:
        """How large the file is, in bytes, as far as what is said of it can be believed.

        None where it does not say, or where that cannot be: a compressed file as large as its NAR,
        to a byte, is what a server says that sends it uncompressed to others.
        """
        nar_size = self.info.nar_size
        if self.compression == "none":
            return nar_size
        size = self.file_size
        return None if size in {None, 0, nar_size} or size > largest_file(nar_size) else size


def largest_file(nar_size: int) -> int:
    """The most bytes that a NAR takes compressed: no method adds more than frames and headers."""
    return nar_size + nar_size // 8 + _FRAMING


def parse_narinfo(data: bytes, *, as_nix: bool = False) -> NarInfo:
    """Read a narinfo. Fields of unknown names are ignored; how long it may be is up to callers.

    So are signatures that are none: newer Nix refuses the whole file for one of them, so it must
    not be written again. ``as_nix``: also what Nix takes of a damaged one, a URL that is not
    UTF-8 (its bytes are then surrogates, as in names of files) and paths without their ``-``.

    Raises:
        FormatError: it is not a narinfo, lacks a required field, has one that cannot be read, or is
            compressed in a way that is not known here.

    """
    try:
        return _narinfo(_fields(data), as_nix=as_nix)
    except FormatError as error:
        raise FormatError(f"not a narinfo: {error.message}") from error


def signatures_as_written(data: bytes) -> list[str]:
    """The values of a narinfo's ``Sig`` fields, whatever they are; bytes may be surrogates.

    Raises:
        FormatError: it is not made of fields.

    """
    return _fields(data).get(_SIGNATURE, [])


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


def _fields(data: bytes) -> dict[str, list[str]]:
    """The values of each name, in their order."""
    # What is not UTF-8 does no harm in what is ignored.
    text = data.decode(errors="surrogateescape")
    fields: dict[str, list[str]] = {}
    start = 0
    while start < len(text):
        colon = text.find(":", start)
        if colon < 0:
            raise FormatError(f"a line without `name: value`: {text[start : start + 80]!r}")
        end = text.find("\n", colon + 2)
        if end < 0:
            raise FormatError("its last line does not end")
        fields.setdefault(text[start:colon], []).append(text[colon + 2 : end])
        start = end + 1
    return fields


def _narinfo(fields: dict[str, list[str]], *, as_nix: bool) -> NarInfo:
    reference = _damaged_reference if as_nix else _reference
    nar_hash = _required(fields, "NarHash", Hash.parse)
    if nar_hash.algorithm != "sha256":
        raise FormatError(f"NarHash is a {nar_hash.algorithm}, not a sha256")
    compression = _last(fields, "Compression", str) or _COMPRESSION_IF_ABSENT
    if compression not in METHODS:
        raise FormatError(f"Compression {compression!r} is unknown; known are {', '.join(METHODS)}")
    return NarInfo(
        info=PathInfo(
            path=_required(fields, "StorePath", _damaged_path if as_nix else StorePath.parse),
            nar_hash=nar_hash,
            nar_size=_required(fields, "NarSize", functools.partial(_size, "NarSize")),
            references=_references(fields.get("References", ()), reference),
            deriver=_last(fields, "Deriver", functools.partial(_deriver, reference=reference)),
            signatures=tuple(filter(_is_signature, fields.get(_SIGNATURE, ()))),
            content_address=_content_address(fields.get("CA", ())),
        ),
        url=_required(fields, "URL", str if as_nix else _url),
        compression=compression,
        file_hash=_last(fields, "FileHash", Hash.parse),
        file_size=_last(fields, "FileSize", functools.partial(_size, "FileSize")),
    )


def _last(fields: dict[str, list[str]], name: str, read: Callable[[str], _Value]) -> _Value | None:
    """What the last of a field's values means, which all have to mean something; None without."""
    found = None
    for value in fields.get(name, ()):
        found = read(value)
    return found


def _required(fields: dict[str, list[str]], name: str, read: Callable[[str], _Value]) -> _Value:
    found = _last(fields, name, read)
    if not found:
        what = "missing" if found is None else fields[name][-1] or "empty"
        raise FormatError(f"{name} is {what}")
    return found


def _damaged_path(text: str) -> StorePath:
    """A path as Nix reads it, which looks at no more of what follows the hash than for a ``/``."""
    if "/" in text.removeprefix(f"{STORE_DIRECTORY}/"):
        raise FormatError(f"not a store path: {text!r}")
    return _damaged_reference(text.removeprefix(f"{STORE_DIRECTORY}/"))


def _damaged_reference(text: str) -> StorePath:
    StorePath.from_base_name(f"{text[:HASH_LENGTH]}-{text[HASH_LENGTH + 1 :]}")
    return StorePath(f"{STORE_DIRECTORY}/{text}")


def _references(values: Iterable[str], read: Callable[[str], StorePath]) -> tuple[StorePath, ...]:
    found: set[StorePath] = set()
    for value in values:
        if found:
            raise FormatError("References twice")
        found.update(map(read, filter(None, value.split(" "))))
    return tuple(sorted(found))


def _content_address(values: Iterable[str]) -> str | None:
    found = None
    for value in filter(None, values):
        if found is not None:
            raise FormatError("CA twice")
        ContentAddress.parse(value)
        found = value
    return found


def _deriver(value: str, *, reference: Callable[[str], StorePath]) -> StorePath | None:
    return None if value == _NO_DERIVER else reference(value)


def _url(value: str) -> str:
    if not _is_unicode(value):
        raise FormatError(f"URL is not UTF-8: {value!r}")
    return value


def _is_signature(value: str) -> bool:
    return _SIGNATURE_VALUE.fullmatch(value) is not None and _is_unicode(value)


def _is_unicode(value: str) -> bool:
    """Whether it was UTF-8, with nothing in it that stands for other bytes."""
    return value.isascii() or not any("\udc80" <= each <= "\udcff" for each in value)


def _size(name: str, text: str) -> int:
    digits = _SIZE.fullmatch(text)
    if digits is None or (size := int(digits[1])) >= _SIZE_LIMIT:
        raise FormatError(f"{name} is not a size: {text[:40]!r}")
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
