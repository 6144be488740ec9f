"""``prefetch verify`` beside the work that it cannot do without, by C tools on the same cores.

    python benchmarks/verifying.py [MEGABYTES] [PATHS] [ROUNDS]

A cache directory of so many megabytes of NARs in so many paths is made, once compressed with xz and
once with zstd. Then, in turn, so many times: each NAR decompressed into ``openssl dgst -sha256`` by
as many pipelines at once as there are cores, and the whole directory verified. Printed are the
medians, their ratio, the processor time of both, and the peak memory of ``prefetch``.
"""

from __future__ import annotations

import asyncio
import lzma
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mirror.destinations import CacheDirectory, Generation
from mirror.formats import nar
from mirror.formats.compression import ZstdCompressor
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath
from mirror.formats.verify import Claim, NarVerifier

FILES_A_PATH = 30
DECOMPRESSORS = {"xz": "xz", "zstd": "zstd"}


@dataclass(frozen=True)
class Took:
    """The seconds that something took, those of the processors, and its peak memory in MB."""

    elapsed: float
    processors: float
    memory: float


def words(generator: random.Random, size: int) -> bytes:
    """Text that compresses to about a fifth, as programs and documentation do."""
    vocabulary = [generator.randbytes(generator.randint(2, 9)).hex().encode() for _ in range(4000)]
    return b" ".join(generator.choices(vocabulary, k=size // 11))[:size]


def made(method: str, size: int, number: int) -> tuple[PathInfo, bytes]:
    """A path with a NAR of about ``size`` bytes, and that NAR, compressed."""
    generator = random.Random(number)
    text = words(generator, min(size, 1 << 19))
    each = max(1, size // FILES_A_PATH)
    files: dict[bytes, nar.Node] = {}
    for file in range(FILES_A_PATH):
        start = generator.randrange(len(text))
        content = (text[start:] + text * (each // len(text) + 1))[:each]
        files[b"%04d" % file] = nar.Regular.of(content)
    data = b"".join(nar.serialize(nar.Directory(files)))
    path = StorePath.from_base_name(f"{Hash.of(str(number).encode()).base32[:32]}-made-{number}")
    info = PathInfo(path=path, nar_hash=Hash.of(data), nar_size=len(data))
    if method == "xz":
        return info, lzma.compress(data, preset=1)
    compressor = ZstdCompressor()
    return info, compressor.feed(data) + compressor.finish()


async def fill(cache: Path, method: str, size: int, paths: int) -> int:
    """Make a cache directory; the bytes of its NARs, uncompressed."""
    total = 0
    infos = []
    async with CacheDirectory.open(cache) as directory:
        with ProcessPoolExecutor() as pool:
            make = partial(made, method, size // paths)
            for info, data in pool.map(make, range(paths), chunksize=4):
                claim = Claim(
                    info=info, compression=method, file_hash=Hash.of(data), file_size=len(data)
                )
                verifier = NarVerifier(claim)
                async with directory.stage(claim) as staging:
                    for _ in verifier.feed(data):
                        pass
                    staging.write(data)
                    await staging.commit(verifier.finish())
                infos.append(info)
                total += info.nar_size
        await directory.keep(
            Generation(
                target="made",
                number=1,
                installable="made",
                level="rebuild",
                root=infos[0].path,
                created=datetime(2026, 11, 24, tzinfo=UTC),
                paths=tuple(sorted(info.path for info in infos)),
                nar_bytes=total,
            )
        )
    return total


def run(command: list[str], *, given: bytes = b"") -> Took:
    """Run a command that must succeed."""
    begun = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(given)
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return Took(
        elapsed=time.perf_counter() - begun,
        processors=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss / 1000,
    )


def by_c_tools(cache: Path, method: str) -> Took:
    nars = "\0".join(str(file) for file in sorted((cache / "nar").iterdir()))
    pipeline = f'{DECOMPRESSORS[method]} -dc "$0" | openssl dgst -sha256'
    cores = str(os.cpu_count() or 1)
    command = ["xargs", "-0", "-n1", "-P", cores, "sh", "-c", pipeline]
    return run(command, given=nars.encode())


def by_prefetch(cache: Path) -> Took:
    return run([sys.executable, "-m", "mirror", "verify", str(cache)])


def median(times: list[Took]) -> Took:
    return Took(
        elapsed=statistics.median(each.elapsed for each in times),
        processors=statistics.median(each.processors for each in times),
        memory=max(each.memory for each in times),
    )


def main(megabytes: int, paths: int, rounds: int) -> None:
    for method in DECOMPRESSORS:
        with tempfile.TemporaryDirectory() as directory:
            cache = Path(directory) / "cache"
            size = asyncio.run(fill(cache, method, megabytes * 1_000_000, paths))
            tools: list[Took] = []
            ours: list[Took] = []
            for _ in range(rounds):
                tools.append(by_c_tools(cache, method))
                ours.append(by_prefetch(cache))
            one, other = median(tools), median(ours)
            print(
                f"{method}: {size / 1e6:,.0f} MB in {paths:,} paths: C tools {one.elapsed:.2f} s "
                f"({one.processors:.2f} s of the processors), "
                f"prefetch verify {other.elapsed:.2f} s ({other.processors:.2f} s), "
                f"ratio {other.elapsed / one.elapsed:.2f}, {other.memory:.0f} MB of memory"
            )


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers + [1000, 1000, 3][len(numbers) :]))
