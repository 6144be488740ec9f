"""What may follow the compressed NAR of a binary cache: what real Nix takes, and nothing else."""

from __future__ import annotations

import bz2
import gzip
import lzma
from typing import TYPE_CHECKING, Final

from rig.made_paths import text
from rig.running import run

from mirror.errors import FormatError
from mirror.formats.compression import ZstdCompressor, decompressor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rig.made_paths import Made
    from rig.running import ScratchStore

    from mirror.nix.command import Nix


def zstd(data: bytes) -> bytes:
    compressor = ZstdCompressor()
    return compressor.feed(data) + compressor.finish()


COMPRESS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "xz": lzma.compress,
    "zstd": zstd,
    "bzip2": bz2.compress,
    "gzip": gzip.compress,
}
GARBAGE: Final = b"garbage, longer than what any stream begins with"


def tails(compress: Callable[[bytes], bytes]) -> dict[str, bytes]:
    nothing = compress(b"")
    return {
        "nothing": b"",
        "a-zero": bytes(1),
        "three-zeros": bytes(3),
        "four-zeros": bytes(4),
        "many-zeros": bytes(100_000),
        "a-letter": b"x",
        "garbage": GARBAGE,
        "an-empty-stream": nothing,
        "zeros-and-a-stream": bytes(4) + nothing,
        "garbage-and-a-stream": GARBAGE + nothing,
        "a-part-of-a-head": nothing[:4],
        "a-head-and-garbage": nothing[:10] + GARBAGE,
        "a-cut-stream": compress(GARBAGE)[:-3],
    }


def is_read(method: str, data: bytes, nar: bytes) -> bool:
    stream = decompressor(method)
    try:
        read = b"".join(stream.feed(data))
        stream.finish()
    except FormatError:
        return False
    return read == nar


def test_what_follows_a_compressed_nar_is_judged_as_nix_does(
    any_nix: Nix, tmp_path: Path, scratch_store: ScratchStore
) -> None:
    cache = tmp_path / "cache"
    (cache / "nar").mkdir(parents=True)
    (cache / "nix-cache-info").write_text("StoreDir: /nix/store\n")
    arriving: dict[str, tuple[str, Made, bytes]] = {}
    for method, compress in COMPRESS.items():
        for tail, rest in tails(compress).items():
            made = text(f"{method}-{tail}", content=tail.encode() * 300)
            data = compress(made.nar) + rest
            arriving[made.path.encode().decode()] = method, made, data
            (cache / f"nar/{made.path.name}").write_bytes(data)
            (cache / f"{made.path.hash_part}.narinfo").write_text(
                f"StorePath: {made.path}\nURL: nar/{made.path.name}\nCompression: {method}\n"
                f"NarHash: {made.info.nar_hash.nix32}\nNarSize: {made.info.nar_size}\n"
                f"References: \nCA: {made.info.content_address}\n"
            )
    run(
        any_nix,
        *("nix-store", "--realise", "--keep-going", *arriving),
        store=scratch_store,
        config=[f"substituters = file://{cache}", "download-attempts = 1"],
        check=False,
    )
    taken = {path for path in arriving if scratch_store.real(path).exists()}
    ours = {
        path for path, (method, made, data) in arriving.items() if is_read(method, data, made.nar)
    }
    assert ours == taken
    assert 0 < len(taken) < len(arriving)
