"""Many slow clients and some fast ones at one server: whether all are answered, and its cost.

    python benchmarks/many_clients.py [SLOW] [FAST] [SECONDS]

SLOW clients read a large NAR at 200 kB/s each, FAST ones ask for narinfos as quickly as they can.
Printed are the fast ones' rate alone and beside the slow ones, and the server's memory (RSS) and
open files at rest and under way. The server runs in a process of its own, on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mirror.destinations import CacheDirectory, Ready
from mirror.formats import nar
from mirror.formats.content_address import text_path
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.path_info import PathInfo
from mirror.formats.verifier import Claim, NarVerifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NARINFOS = 2_000
LARGE_BYTES = 256 << 20
SLOW_BYTES_A_SECOND = 200_000


@dataclass
class Tally:
    """What clients got: answers, and bytes of content."""

    answered: int = 0
    received: int = 0


async def fill(cache: Path) -> tuple[list[str], str]:
    """A cache of small paths and a large one; what to ask for."""
    async with CacheDirectory.open(cache) as directory:
        names = []
        for number in range(NARINFOS):
            path = await put(directory, f"small-{number}".encode(), "none")
            names.append(f"/{path[11:43]}.narinfo")
        path = await put(directory, os.urandom(1 << 20) * (LARGE_BYTES >> 20), "none")
    entry = parse_narinfo((cache / f"{path[11:43]}.narinfo").read_bytes())
    return names, f"/{entry.url}"


async def put(directory: CacheDirectory, content: bytes, compression: str) -> str:
    digest = Hash.of(content)
    data = b"".join(nar.serialize(nar.Regular.of(content)))
    info = PathInfo(
        path=text_path("made", hash=digest),
        nar_hash=Hash.of(data),
        nar_size=len(data),
        references=(),
        content_address=f"text:{digest.nix32}",
    )
    claim = Claim(info=info, compression=compression)
    verifier = NarVerifier(claim)
    async with directory.stage(claim) as staging:
        for _ in verifier.feed(data):
            pass
        staging.write(data)
        await directory.commit([Ready(staging, verifier.finish())])
    return info.path


@contextlib.asynccontextmanager
async def server(cache: Path) -> AsyncIterator[tuple[str, int, int]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mirror", "serve", str(cache), "--listen", "127.0.0.1:0"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    url = urlsplit((await process.stderr.readline()).split()[-1].decode())
    assert url.hostname is not None
    assert url.port is not None
    try:
        yield url.hostname, url.port, process.pid
    finally:
        process.kill()
        await process.wait()


async def fast(host: str, port: int, names: list[str], tally: Tally) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    with contextlib.closing(writer):
        while True:
            for name in names:
                writer.write(f"GET {name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                length = next(
                    int(line[16:])
                    for line in head.split(b"\r\n")
                    if line[:15] == b"Content-Length:"
                )
                await reader.readexactly(length)
                tally.answered += 1


async def slow(host: str, port: int, target: str, tally: Tally) -> None:
    # A small buffer, so that it is the client that is slow and not its kernel that is patient.
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 14)
    with contextlib.closing(writer):
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        tally.answered += 1
        while data := await reader.read(1 << 14):
            tally.received += len(data)
            await asyncio.sleep(len(data) / SLOW_BYTES_A_SECOND)


async def rate(host: str, port: int, names: list[str], clients: int, seconds: float) -> float:
    """Narinfos a second that so many fast clients get."""
    tally = Tally()
    begun = time.perf_counter()
    tasks = [asyncio.create_task(fast(host, port, names, tally)) for _ in range(clients)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
    return tally.answered / (time.perf_counter() - begun)


def resident(pid: int) -> float:
    """The memory of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def measure(slow_clients: int, fast_clients: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        names, large = await fill(Path(directory) / "cache")
        async with server(Path(directory) / "cache") as (host, port, pid):
            alone = await rate(host, port, names, fast_clients, seconds)
            print(f"at rest: {resident(pid):.1f} MB, {open_files(pid)} open files")
            print(f"{fast_clients} fast clients alone: {alone:,.0f} narinfos/s")
            tally = Tally()
            tasks = [
                asyncio.create_task(slow(host, port, large, tally)) for _ in range(slow_clients)
            ]
            while tally.answered < slow_clients:
                await asyncio.sleep(0.1)
                if failed := [task for task in tasks if task.done()]:
                    await failed[0]
            beside = await rate(host, port, names, fast_clients, seconds)
            print(f"with {slow_clients} slow ones: {beside:,.0f} narinfos/s")
            for when in ("under way", "later"):
                print(f"{when}: {resident(pid):.1f} MB, {open_files(pid)} open files")
                await asyncio.sleep(seconds)
            print(f"slow clients had {tally.received / 1e6:,.0f} MB, all of them something")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]] + [200, 16, 5][len(sys.argv) - 1 :]
    asyncio.run(measure(*numbers))
