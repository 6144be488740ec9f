"""nix-cache-info: what is read means the same once written."""

from __future__ import annotations

from typing import Final

from fuzz.target import Target, plain
from mirror.formats.cache_info import parse_cache_info, print_cache_info


def _check(data: bytes) -> None:
    info = parse_cache_info(data)
    assert parse_cache_info(print_cache_info(info)) == info


TARGET: Final = Target(
    name="cache-info",
    checking=plain(_check),
    words=(b"StoreDir: ", b"WantMassQuery: 1", b"Priority: ", b"-", b"\xd9\xa3", b"9" * 9),
    longest=400,
)
