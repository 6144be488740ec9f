"""``nix-cache-info``: what a binary cache says of itself.

Lines ``Name: value``, read as Nix reads them: what is none is ignored, white space around a value
does not count, and of a field that comes again the last one does. Source: Nix's
``src/libstore/binary-cache-store.cc``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mirror.errors import FormatError
from mirror.formats.store_path import STORE_DIRECTORY

FILE_NAME: Final = "nix-cache-info"

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,9}(?![0-9])")
"""Nix does not look at what follows the digits; they have to fit an ``int``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInfo:
    """What the file says.

    ``want_mass_query``: asking it for many paths that it may lack is welcome. ``priority``: lower
    is asked first; None where the cache leaves it to its readers.
    """

    store_directory: str = STORE_DIRECTORY
    want_mass_query: bool = False
    priority: int | None = None


def parse_cache_info(data: bytes) -> CacheInfo:
    """Read the file.

    Raises:
        FormatError: a value cannot be read, or the cache is for another store directory.

    """
    want_mass_query = False
    priority = None
    # What is not UTF-8 does no harm in what is ignored.
    for line in data.decode(errors="surrogateescape").split("\n"):
        name, colon, value = line.partition(":")
        if not colon:
            continue
        value = value.strip(" \t\r")
        if name == "StoreDir" and value != STORE_DIRECTORY:
            raise FormatError(f"the cache is for the store directory {value!r}")
        if name == "WantMassQuery":
            want_mass_query = value == "1"
        elif name == "Priority":
            number = _NUMBER.match(value)
            if number is None:
                raise FormatError(f"{FILE_NAME}: Priority is not a number: {value[:40]!r}")
            priority = int(number[0])
    return CacheInfo(want_mass_query=want_mass_query, priority=priority)


def print_cache_info(info: CacheInfo) -> bytes:
    """Write the file."""
    lines = [
        f"StoreDir: {info.store_directory}",
        f"WantMassQuery: {int(info.want_mass_query)}",
    ]
    if info.priority is not None:
        lines.append(f"Priority: {info.priority}")
    return "".join(f"{line}\n" for line in lines).encode()
