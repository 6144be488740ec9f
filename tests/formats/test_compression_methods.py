from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import TYPE_CHECKING

import brotli  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import FormatError
from mirror.formats.compression import METHODS, PIECE_SIZE, ZstdCompressor, decompressor

if TYPE_CHECKING:
    from collections.abc import Callable


def zstd(data: bytes) -> bytes:
    compressor = ZstdCompressor(3)
    half = len(data) // 2
    return compressor.feed(data[:half]) + compressor.feed(data[half:]) + compressor.finish()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "xz": lzma.compress,
    "zstd": zstd,
    "bzip2": bz2.compress,
    "gzip": gzip.compress,
    "br": lambda data: bytes(brotli.compress(data, quality=3)),
}
REPEATABLE = [method for method in METHODS if method not in {"none", "br"}]
methods = st.sampled_from(METHODS)


def cut(data: bytes, *, is_split: bool) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))] if is_split else [data]


def decompress(method: str, *chunks: bytes, ignores_rest: bool = False) -> bytes:
    reader = decompressor(method, ignores_rest=ignores_rest)
    pieces = [piece for chunk in chunks for piece in reader.feed(chunk)]
    reader.finish()
    assert all(0 < len(piece) <= PIECE_SIZE for piece in pieces)
    return b"".join(pieces)


def test_every_method_that_narinfos_name_is_known() -> None:
    assert set(COMPRESS) == set(METHODS)
    with pytest.raises(FormatError, match="'lz4'; known are none, xz"):
        decompressor("lz4")


@given(methods, st.binary(max_size=300), st.lists(st.integers(0, 40), max_size=10))
def test_data_comes_back_however_it_is_cut(method: str, data: bytes, sizes: list[int]) -> None:
    compressed = COMPRESS[method](data)
    chunks, start = [], 0
    for size in sizes:
        chunks.append(compressed[start : start + size])
        start += size
    assert decompress(method, *chunks, compressed[start:]) == data


@pytest.mark.parametrize("method", REPEATABLE)
def test_streams_and_frames_are_read_to_the_last(method: str) -> None:
    compress = COMPRESS[method]
    joined = compress(b"one") + compress(b"") + compress(b"two" * 1000)
    assert decompress(method, joined) == b"one" + b"two" * 1000
    one_by_one = (joined[n : n + 1] for n in range(len(joined)))
    assert decompress(method, *one_by_one) == b"one" + b"two" * 1000


@pytest.mark.parametrize("method", [method for method in METHODS if method != "none"])
@pytest.mark.parametrize("is_split", [False, True])
def test_what_is_cut_short_or_something_else_is_an_error(method: str, is_split: bool) -> None:
    compressed = COMPRESS[method](b"some data" * 100)
    for damaged in (
        b"",
        compressed[:-1],
        compressed[: len(compressed) // 2],
        b"no such data, more than a header's length",
    ):
        with pytest.raises(FormatError, match=method):
            decompress(method, *cut(damaged, is_split=is_split))


@pytest.mark.parametrize("method", ["xz", "zstd", "br"])
@pytest.mark.parametrize("is_split", [False, True])
def test_after_xz_zstd_and_brotli_no_other_data_may_come(method: str, is_split: bool) -> None:
    compressed = COMPRESS[method](b"some data" * 100)
    for rest in (b"x", b"garbage, more than a header's length", bytes(3)):
        with pytest.raises(FormatError, match=method):
            decompress(method, *cut(compressed + rest, is_split=is_split))


@pytest.mark.parametrize("method", REPEATABLE)
@pytest.mark.parametrize("is_split", [False, True])
@pytest.mark.parametrize("rest", [b"x", bytes(9_999), b"garbage, more than a header's length"])
def test_in_an_archive_anything_may_follow(method: str, is_split: bool, rest: bytes) -> None:
    compressed = COMPRESS[method](b"some data" * 100)
    for whole in (compressed + rest, compressed + rest + compressed):
        assert (
            decompress(method, *cut(whole, is_split=is_split), ignores_rest=True)
            == b"some data" * 100
        )
    twice = decompress(method, compressed, compressed, rest, ignores_rest=True)
    assert twice == b"some data" * 200
    with pytest.raises(FormatError, match=method):
        decompress(method, compressed, compressed[:-1], ignores_rest=True)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "none"])
def test_a_bomb_goes_off_in_pieces(method: str) -> None:
    bomb = COMPRESS[method](bytes(64 << 20))
    pieces = decompressor(method).feed(bomb)
    for _ in range(10):
        assert 0 < len(next(pieces)) <= PIECE_SIZE


@pytest.mark.parametrize(("size", "is_read"), [(30, True), (31, False), (40, False)])
def test_an_xz_dictionary_may_be_so_large(size: int, is_read: bool) -> None:
    # The size is a byte of the block's header, after those of the stream and four others.
    stream = bytearray(lzma.compress(b"x"))
    length = (stream[12] + 1) * 4
    stream[16] = size
    stream[8 + length : 12 + length] = zlib.crc32(stream[12 : 8 + length]).to_bytes(4, "little")
    if is_read:
        assert decompress("xz", bytes(stream)) == b"x"
        return
    with pytest.raises(FormatError, match="Memory"):
        decompress("xz", bytes(stream))


def test_xz_padding_between_and_after_streams() -> None:
    stream = lzma.compress(b"data")
    assert decompress("xz", stream + bytes(8) + stream + bytes(4)) == b"datadata"
    assert decompress("xz", stream, bytes(3), bytes(1), stream) == b"datadata"
    for wrong in (stream + bytes(3), stream + bytes(5) + stream):
        with pytest.raises(FormatError, match="xz"):
            decompress("xz", wrong)


@given(methods.filter(lambda method: method != "none"), st.binary(max_size=100), st.booleans())
def test_anything_else_is_a_format_error(method: str, data: bytes, is_started: bool) -> None:
    head = COMPRESS[method](bytes(range(100)))[:10] if is_started else b""
    try:
        decompress(method, head + data)
    except FormatError:
        return
    # A few bytes of brotli can be a whole stream by chance; nothing else can.
    assert method == "br"
