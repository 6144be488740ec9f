"""A gigabyte from a megabyte: memory and time stay bounded, whatever the narinfo says of it.

The program runs as a process of its own, whose peak of memory the kernel tells.
"""

from __future__ import annotations

import asyncio
import bz2
import gzip
import hashlib
import lzma
import re
import sys
from typing import TYPE_CHECKING, Final

import brotli  # type: ignore[import-untyped]  # it ships no types
import pytest
from rig.hostile import CacheCase, Place
from rig.servers import Reply, Server
from rig.village import PRIVATE, Village

from mirror.formats.hashes import Hash
from mirror.formats.nar_strings import CLOSE, CONTENTS, LENGTH, MAGIC, OPEN_TYPE, REGULAR

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig.measured import Measured

PIECE: Final = bytes(1 << 24)
PIECES: Final = 64
SIZE: Final = len(PIECE) * PIECES
HEAD: Final = MAGIC + OPEN_TYPE + REGULAR + CONTENTS + LENGTH.pack(SIZE)
BOUND: Final = 300 << 20
"""More memory than a run takes that meets nothing unusual, and far less than a gigabyte."""
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": zstd.compress,
    "bzip2": lambda data: bz2.compress(data, 1),
    "gzip": lambda data: gzip.compress(data, 6),
}


def gigabyte(method: str) -> bytes:
    """The NAR of a gigabyte of zeros, compressed."""
    if method == "br":
        stream = brotli.Compressor(quality=1)
        pieces = [stream.process(HEAD), *(stream.process(PIECE) for _ in range(PIECES))]
        return b"".join([*pieces, stream.process(CLOSE), stream.finish()])
    # The others are read as one stream after the other.
    compress = COMPRESSORS[method]
    return compress(HEAD) + compress(PIECE) * PIECES + compress(CLOSE)


def zeros_hash() -> Hash:
    digest = hashlib.sha256(HEAD)
    for _ in range(PIECES):
        digest.update(PIECE)
    digest.update(CLOSE)
    return Hash("sha256", digest.digest())


def bomb(method: str, *, says_its_size: bool) -> Callable[[Place], None]:
    """A cache that says of a gigabyte that it is a few hundred kilobytes."""

    def make(place: Place) -> None:
        data = gigabyte(method)
        assert len(data) < SIZE / 200
        size = len(data) if says_its_size else None
        place.says(place.narinfo(compression=method, file_size=size))
        place.on("nar/x.nar", Reply(body=data))

    return make


def truthful(method: str) -> Callable[[Place], None]:
    """A cache that says of a gigabyte what it is."""

    def make(place: Place) -> None:
        data = gigabyte(method)
        size = len(HEAD) + SIZE + len(CLOSE)
        place.says(place.narinfo(compression=method, nar_hash=zeros_hash(), nar_size=size))
        place.on("nar/x.nar", Reply(body=data))

    return make


def measured(village: Village, cases: list[CacheCase]) -> Measured:
    async def run() -> Measured:
        async with Server() as server, Server(address=PRIVATE) as inside:
            command = village.command(village.prepare(server, inside, cases))
            return await asyncio.to_thread(village.measure, command)

    return asyncio.run(run())


@pytest.mark.parametrize("says_its_size", [True, False])
def test_a_bomb_is_refused_in_little_memory(village: Village, says_its_size: bool) -> None:
    cases = [
        CacheCase(name=name, serve=bomb(name, says_its_size=says_its_size), said="is longer than")
        for name in (*COMPRESSORS, "br")
    ]
    ended = measured(village, cases)
    assert ended.code == 1
    for case in cases:
        assert f"/{case.name}/nar/x.nar: " in ended.said, ended.said
    # A gigabyte in gzip is more than any honest file of that NAR could be.
    stopped = r"^  .*(the NAR is longer than 300112 bytes|more than the 403162 bytes)"
    refused = re.findall(stopped, ended.said, re.MULTILINE)
    assert len(refused) == len(cases), ended.said
    assert ended.peak_bytes < BOUND


@pytest.mark.thorough
def test_what_truly_is_a_gigabyte_takes_no_more_memory(village: Village) -> None:
    case = CacheCase(name="zstd", serve=truthful("zstd"), said="", arrives=True)
    ended = measured(village, [case])
    assert ended.code == 0, ended.said
    assert ended.peak_bytes < BOUND
