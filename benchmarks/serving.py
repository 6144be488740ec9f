"""``prefetch serve`` against nginx on the same cache directory, and what the server holds.

    python -m benchmarks serving
    python -m benchmarks.serving [NARINFOS] [MANY]

Small: ``wrk``, a client in C that takes a fraction of a core, asks for all narinfos in turn over 16
connections for some seconds. Large: ``curl --parallel`` reads every NAR. Both servers are asked by
the same client, in turns; the rates are medians of the rounds, and the ratio is the median of the
rounds' ratios. First of all it is seen that both give the same answers.

The second command tells the server's peak of memory at rest and when all has been asked for, with
few narinfos and with many, whence the growth a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.many_clients import put
from benchmarks.measuring import in_turns, peak_bytes
from benchmarks.places import cached
from benchmarks.table import Row
from benchmarks.web import nginx
from mirror.destinations import CacheDirectory
from mirror.formats.base32 import encode
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import NarInfo, print_narinfo
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_CONNECTIONS: Final = 16
_LARGE_AT_ONCE: Final = 4
_REFERENCES: Final = 8
_SAMPLES: Final = 20
_UNPACKED: Final = "wrk"
"""Where tools/install-nix puts wrk."""

_ASK_IN_TURN: Final = """
local asked, last = {}, 0
function init()
  for target in io.lines("TARGETS") do asked[#asked + 1] = wrk.format("GET", target) end
end
function request()
  last = last % #asked + 1
  return asked[last]
end
"""
_ANSWERED: Final = re.compile(r"(\d+) requests in ")
_RATE: Final = re.compile(r"Requests/sec: +([0-9.]+)")
_FAILED: Final = re.compile(r"Non-2xx.*|Socket errors.*")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is served, and for how long each round asks for narinfos."""

    narinfos: int = 5000
    nars: int = 8
    nar_megabytes: int = 128
    seconds: int = 5
    rounds: int = 5


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs: its URL and, where its memory is looked at, its process."""

    url: str
    process: int


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache directory, and what to ask for."""

    directory: Path
    narinfos: Sequence[str]
    nars: Sequence[str]


def fill(directory: Path, narinfos: int, nars: int, nar_bytes: int) -> Cache:
    """Make a cache directory: large NARs as a sync puts them there, and many small ones."""
    block = random.Random(0).randbytes(1 << 20)

    async def put_large() -> list[str]:
        async with CacheDirectory.open(directory) as opened:
            for number in range(nars):
                content = b"%d" % number + block * (nar_bytes >> 20)
                await put(opened, content, "none")
        return [f"/nar/{each.name}" for each in (directory / "nar").iterdir()]

    large = asyncio.run(put_large())
    return Cache(directory, [_put_small(directory, number) for number in range(narinfos)], large)


def _put_small(directory: Path, number: int) -> str:
    """Write a narinfo of usual length, and a NAR's file; the narinfo's target."""
    digest = Hash.of(b"%d" % number)
    path, *references = (
        StorePath.from_base_name(f"{encode(Hash.of(b'%d %d' % (number, each)).digest[:20])}-made")
        for each in range(_REFERENCES + 1)
    )
    entry = NarInfo(
        info=PathInfo(
            path=path,
            nar_hash=digest,
            nar_size=1,
            references=tuple(sorted(references)),
            signatures=(f"cache-1:{'A' * 86}==",),
        ),
        url=f"nar/{digest.base32}.nar.xz",
        compression="xz",
        file_hash=digest,
        file_size=1,
    )
    (directory / entry.url).write_bytes(b"x")
    (directory / f"{path.hash_part}.narinfo").write_bytes(print_narinfo(entry))
    return f"/{path.hash_part}.narinfo"


@contextlib.contextmanager
def prefetch(directory: Path) -> Iterator[Server]:
    """Serve a directory by the user's own command."""
    command = [sys.executable, "-m", "mirror", "serve", str(directory), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = process.stderr.readline().split()
            yield Server(said[-1].removesuffix("/"), process.pid)
        finally:
            process.terminate()


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    length: str | None
    tag: str | None


def _ask(url: str, method: str = "GET", **headers: str) -> _Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, method=method, headers=named)
    try:
        answered = urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        answered = error
    with answered:
        headers_in = answered.headers
        return _Reply(
            answered.status, answered.read(), headers_in["Content-Length"], headers_in["ETag"]
        )


def compare_answers(cache: Cache, ours: str, theirs: str) -> int:
    """See that both servers give the same, whole, in part and by HEAD; how often it was seen.

    Raises:
        AssertionError: they do not.

    """
    compared = 0
    targets = [*random.Random(0).sample(list(cache.narinfos), _SAMPLES), *cache.nars[:1]]
    asked: list[tuple[str, dict[str, str]]] = [
        ("GET", {}),
        ("HEAD", {}),
        ("GET", {"Range": "bytes=3-11"}),
        ("GET", {"Range": "bytes=-7"}),
        ("GET", {"Range": "bytes=999999999999-"}),
    ]
    for target in targets:
        for method, headers in asked:
            replies = [_ask(f"{url}{target}", method, **headers) for url in (ours, theirs)]
            kept = [(each.status, each.body, each.length) for each in replies]
            # What is said of a range that does not exist is each server's own.
            assert kept[0][:1] == kept[1][:1], (target, headers)
            assert replies[0].status == 416 or kept[0] == kept[1], (target, headers)
            compared += 1
        for url in (ours, theirs):
            tag = _ask(f"{url}{target}", "HEAD").tag
            assert tag is not None, target
            again = _ask(f"{url}{target}", If_None_Match=tag)
            assert (again.status, again.body) == (304, b""), target
        compared += 1
    missing = [_ask(f"{url}/{'0' * 32}.narinfo").status for url in (ours, theirs)]
    assert missing == [404, 404]
    return compared + 1


def small(url: str, script: Path, seconds: int) -> tuple[float, int]:
    """Narinfos a second, and how many there were.

    Raises:
        RuntimeError: not all were answered.

    """
    program, libraries = _wrk()
    completed = subprocess.run(
        [program, "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "-s", script, f"{url}/"],
        env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
        capture_output=True,
        text=True,
        check=True,
    )
    rate, answered = _RATE.search(completed.stdout), _ANSWERED.search(completed.stdout)
    if rate is None or answered is None or _FAILED.search(completed.stdout):
        raise RuntimeError(f"not all was answered:\n{completed.stdout}")
    return float(rate[1]), int(answered[1])


def large(url: str, nars: Sequence[str], nar_bytes: int) -> float:
    """MB a second of NARs."""
    begun = time.perf_counter()
    subprocess.run(
        [
            *("curl", "--no-progress-meter", "--fail", "--parallel", "--parallel-immediate"),
            *("--parallel-max", str(_LARGE_AT_ONCE)),
            *(word for each in nars for word in ("--output", "/dev/null", f"{url}{each}")),
        ],
        check=True,
    )
    return len(nars) * nar_bytes / (time.perf_counter() - begun) / 1e6


def _wrk() -> tuple[Path, Path]:
    """The program, and where its libraries are if it is only unpacked."""
    if found := shutil.which("wrk"):
        return Path(found), Path(found).parent
    cache = cached(_UNPACKED)
    program = cache / "usr/bin/wrk"
    if not program.exists():
        raise RuntimeError("there is no wrk: run tools/install-nix tests")
    return program, next((cache / "usr/lib").glob("*/libluajit*")).parent


def peak(process: int) -> float:
    """The most memory that a process has had, in MB."""
    return peak_bytes(process) / 1e6


def processor_seconds(process: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare_rates(
    rounds: int, measure: Callable[[str], float], ours: str, theirs: str
) -> tuple[float, float, float]:
    """Our rate, theirs, and the ratio."""
    rates = in_turns(rounds, lambda: measure(ours), lambda: measure(theirs))
    ratio = statistics.median(our / their for our, their in zip(*rates, strict=True))
    return statistics.median(rates[0]), statistics.median(rates[1]), ratio


def script_for(directory: Path, cache: Cache) -> Path:
    """What has wrk ask for every narinfo of a cache."""
    targets, script = directory / "targets", directory / "ask.lua"
    targets.write_text("".join(f"{each}\n" for each in cache.narinfos))
    script.write_text(_ASK_IN_TURN.replace("TARGETS", str(targets)))
    return script


def measure_memory(directory: Path, cache: Cache) -> tuple[float, float, float]:
    """The seconds until a server listens, its peak then, and when all was asked for."""
    begun = time.perf_counter()
    with prefetch(cache.directory) as ours:
        seconds = time.perf_counter() - begun
        at_rest = peak(ours.process)
        script, asking = script_for(directory, cache), 1
        # Each time it begins with the first.
        while small(ours.url, script, asking)[1] < len(cache.narinfos):
            asking *= 2
        return seconds, at_rest, peak(ours.process)


def rows(sizes: Sizes | None = None) -> Iterator[Row]:
    """Measure a row for narinfos, and one for NARs.

    Raises:
        AssertionError: the two servers do not answer alike.

    """
    sizes = sizes or Sizes()
    with tempfile.TemporaryDirectory(prefix="prefetch-serving-") as made:
        scratch = Path(made)
        nar_bytes = sizes.nar_megabytes << 20
        cache = fill(scratch / "cache", sizes.narinfos, sizes.nars, nar_bytes)
        script = script_for(scratch, cache)
        with prefetch(cache.directory) as ours, nginx(cache.directory) as theirs:
            compare_answers(cache, ours.url, theirs)
            ask = functools.partial(small, script=script, seconds=sizes.seconds)
            rates = compare_rates(sizes.rounds, lambda url: ask(url)[0], ours.url, theirs)
            yield _row("serve, narinfos", "a second", rates, reach=0.2, server=ours)
            rates = compare_rates(
                sizes.rounds, lambda url: large(url, cache.nars, nar_bytes), ours.url, theirs
            )
            what = f"serve, NARs of {sizes.nar_megabytes} MB"
            yield _row(what, "MB/s", rates, reach=0.8, server=ours)
            with nginx(cache.directory, keeps_files_open=True) as keeping:
                rates = compare_rates(sizes.rounds, lambda url: ask(url)[0], ours.url, keeping)
            against = "nginx that keeps files open"
            yield _row(
                "serve, narinfos", "a second", rates, reach=0.2, server=ours, against=against
            )


def _row(
    what: str,
    unit: str,
    rates: tuple[float, float, float],
    *,
    reach: float,
    server: Server,
    against: str = "nginx",
) -> Row:
    ours, theirs, ratio = rates
    return Row(
        what=what,
        against=against,
        ours=f"{ours:,.0f} {unit}",
        theirs=f"{theirs:,.0f} {unit}",
        ratio=ratio,
        reach=f"at least {reach}",
        processor=None,
        peak=peak(server.process),
    )


def main(narinfos: int = 5_000, many: int = 50_000) -> None:
    """Print what a server holds with some narinfos, and with many."""
    with tempfile.TemporaryDirectory(prefix="prefetch-serving-") as made:
        scratch = Path(made)
        cache = fill(scratch / "cache", narinfos, 0, 0)
        few = measure_memory(scratch, cache)
        full = fill(scratch / "full", many, 0, 0)
        all_of_it = measure_memory(scratch, full)
        for count, (took, at_rest, asked) in ((narinfos, few), (many, all_of_it)):
            print(
                f"{count:,} narinfos: listening after {took:.1f} s, peak {at_rest:.0f} MB, "
                f"{asked:.0f} MB when all were asked for"
            )
        for when, index in (("at rest", 1), ("when all were asked for", 2)):
            grown = (all_of_it[index] - few[index]) / (many - narinfos) * 1e6
            print(f"growth a path {when}: {grown:.0f} bytes")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
