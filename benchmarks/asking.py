"""Narinfo look-ups alone, of one cache that answers late, over HTTP/2: against ``curl --parallel``.

Ours is a program, too: ``python -m benchmarks.asking CACHE CERTIFICATE PATHS`` looks the paths of a
file up as ``plan`` does, 256 at once over at most 8 connections, and prints the seconds until all
are answered and the processor time that it took, start and imports left out.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.graphs import generated_graph, publish
from benchmarks.measuring import Run, compare, run
from benchmarks.table import Row
from benchmarks.web import Certificate, nginx
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.signing import SecretKey
from mirror.formats.store_path import StorePath
from mirror.sources.caches.binary_cache import BinaryCache
from mirror.sources.http.client import HttpClient
from mirror.sources.http.settings import HttpSettings
from mirror.trust import Certificates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LATENCY_SECONDS: Final = 0.03
CONNECTIONS: Final = 8
AT_ONCE: Final = 256


def rows(look_ups: int = 4_000, rounds: int = 5) -> Iterator[Row]:
    """Measure the row."""
    graph = generated_graph(max(look_ups // 3, 40))
    with tempfile.TemporaryDirectory(prefix="prefetch-benchmark-") as name:
        scratch = Path(name)
        publish(graph, scratch / "cache", SecretKey.generate("benchmarks-1"))
        narinfos = sorted((scratch / "cache").glob("*.narinfo"))[:look_ups]
        paths = scratch / "paths"
        paths.write_text("".join(f"{_path(each)}\n" for each in narinfos))
        certificate = Certificate.make(scratch)
        served = nginx(scratch / "cache", pause_seconds=LATENCY_SECONDS, certificate=certificate)
        with served as upstream:
            urls = scratch / "urls"
            urls.write_text(
                "".join(f"url={upstream}/{each.name}\noutput=/dev/null\n" for each in narinfos)
            )

            def ours() -> Run:
                command = [sys.executable, "-m", "benchmarks.asking"]
                asked = run([*command, upstream, certificate.file, paths], reads_output=True)
                seconds, processor_seconds = map(float, asked.output.split())
                return Run(
                    seconds=seconds,
                    processor_seconds=processor_seconds,
                    peak_bytes=asked.peak_bytes,
                    output=asked.output,
                )

            def curl() -> Run:
                options = ["--silent", "--cacert", certificate.file, "--parallel-max", AT_ONCE]
                return run(["curl", "--parallel", *map(str, options), "--config", urls])

            (compared,) = compare(rounds, ours, curl)
    yield Row.of(
        f"{len(narinfos):,} narinfos over HTTP/2, {LATENCY_SECONDS * 1000:.0f} ms a request",
        "`curl --parallel`",
        compared,
        reach="2 s",
    )


async def ask(cache_url: str, certificate: Path, paths: Sequence[StorePath]) -> None:
    """Look all the paths up, and print what it took."""
    settings = HttpSettings(
        connections_per_host=CONNECTIONS, certificates=Certificates(certificate)
    )
    async with HttpClient(settings) as client:
        cache = await BinaryCache.connect(cache_url, client)
        started, processor_started = time.perf_counter(), time.process_time()
        left = iter(paths)

        async def work() -> None:
            for path in left:
                assert await cache.lookup(path) is not None

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
        print(time.perf_counter() - started, time.process_time() - processor_started)


def _path(narinfo: Path) -> StorePath:
    return parse_narinfo(narinfo.read_bytes()).info.path


if __name__ == "__main__":
    asked = Path(sys.argv[3]).read_text().split()
    asyncio.run(ask(sys.argv[1], Path(sys.argv[2]), [StorePath.parse(each) for each in asked]))
