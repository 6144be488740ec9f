"""``nix-cache-info``: what a binary cache says of itself.

Source: Nix's ``src/libstore/binary-cache-store.cc``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mirror.errors import FormatError
from mirror.formats.store_path import STORE_DIRECTORY

FILE_NAME: Final = "nix-cache-info"


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
    """Read the file. Lines that mean nothing here are ignored, as Nix does.

    Raises:
        FormatError: a value cannot be read, or the cache is for another store directory.

    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{FILE_NAME} is not UTF-8: {error}") from error
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            fields[name] = value.strip()
    directory = fields.get("StoreDir", STORE_DIRECTORY)
    if directory != STORE_DIRECTORY:
        raise FormatError(f"the cache is for the store directory {directory!r}")
    priority = fields.get("Priority")
    if priority is not None and not _is_number(priority):
        raise FormatError(f"{FILE_NAME}: Priority is not a number: {priority[:40]!r}")
    return CacheInfo(
        store_directory=directory,
        want_mass_query=fields.get("WantMassQuery") == "1",
        priority=None if priority is None else int(priority),
    )


def print_cache_info(info: CacheInfo) -> bytes:
    """Write the file."""
    lines = [
        f"StoreDir: {info.store_directory}",
        f"WantMassQuery: {int(info.want_mass_query)}",
    ]
    if info.priority is not None:
        lines.append(f"Priority: {info.priority}")
    return "".join(f"{line}\n" for line in lines).encode()


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 10  # noqa: PLR2004 - as an int
