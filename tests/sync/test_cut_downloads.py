"""Downloads that are cut: in a real sync they go on where they were, and nothing is spliced."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rig.hostile import CacheCase, Place, file_nar
from rig.measured import LOG
from rig.servers import RANGE, Reply, Request, Server
from rig.village import PRIVATE, Aftermath, Village

from mirror.formats.hashes import Hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig.measured import Measured

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CUTS = 5
SIZE = 6 << 20
CUT = 4 << 20
"""More than what may be on its way to a reader when it learns of the end, and is lost."""
BOUND = 300 << 20
MODIFIED = "Tue, 03 Nov 2026 10:00:00 GMT"
LATER = "Tue, 03 Nov 2026 11:00:00 GMT"


def run_program(village: Village, case: CacheCase) -> tuple[Measured, Server]:
    """One sync as a process of its own, and the server that it asked."""

    async def run() -> tuple[Measured, Server]:
        async with Server() as server, Server(address=PRIVATE) as inside:
            command = village.command(village.prepare(server, inside, [case]))
            return await asyncio.to_thread(village.measure, command), server

    return asyncio.run(run())


def asked_for_nar(server: Server) -> list[Request]:
    return [request for request in server.requests if request.path.endswith("/nar/x.nar")]


@pytest.mark.parametrize(
    ("compression", "size", "validator"),
    [
        ("none", 200_000_000, {"etag": '"1"'}),
        ("zstd", 100_000_000, {"headers": {"Last-Modified": MODIFIED}}),
    ],
    ids=["plain-etag", "zstd-date"],
)
def test_a_large_nar_that_is_cut_five_times_arrives_once(
    village: Village, compression: str, size: int, validator: dict[str, Any]
) -> None:
    contents = file_nar(os.urandom(size))
    file = contents if compression == "none" else zstd.compress(contents, level=1)

    def serve(place: Place) -> None:
        place.says(
            place.narinfo(
                compression=compression,
                file_size=len(file),
                nar_hash=Hash.of(contents),
                nar_size=len(contents),
            )
        )
        whole = Reply(body=memoryview(file), **validator)
        cut = (replace(whole, cut_after=len(file) // (CUTS + 1)) for _ in range(CUTS))
        place.on("nar/x.nar", *cut, whole)

    ended, server = run_program(village, CacheCase(name="large", serve=serve, said=""))
    assert ended.code == 0, ended.said
    assert len(asked_for_nar(server)) == CUTS + 1
    assert all("if-range" in request.headers for request in asked_for_nar(server)[1:])
    LOG.info("%s bytes were sent of a file of %s", f"{server.sent_bytes:,}", f"{len(file):,}")
    assert server.sent_bytes < 1.05 * len(file)
    assert ended.peak_bytes < BOUND
    village.verify(village.nix)


def test_what_a_killed_run_had_begun_comes_again(village: Village) -> None:
    """The destination is the state: of a path that is not there whole, nothing is kept."""

    async def run() -> tuple[int, Measured]:
        async with Server() as server, Server(address=PRIVATE) as inside:
            case = CacheCase(name="killed", serve=slowly, said="", size=CUT * 4)
            command = village.command(village.prepare(server, inside, [case]))
            process = await asyncio.create_subprocess_exec(
                *command, cwd=village.directory / "user", env=village.environment
            )
            await until(lambda: server.sent_bytes > CUT * 2)  # all else is far less
            process.kill()
            await process.wait()
            await until(lambda: not server.at_once)
            server.requests.clear()
            server.sent_bytes = 0
            ended = await asyncio.to_thread(village.measure, command)
            assert all("range" not in request.headers for request in asked_for_nar(server))
            return server.sent_bytes, ended

    def slowly(place: Place) -> None:
        slow = Reply(body=place.nar, etag='"1"', piece=CUT // 4, pause=0.05)
        place.gives(slow, replace(slow, piece=None))

    again, ended = asyncio.run(run())
    assert ended.code == 0, ended.said
    assert CUT * 4 < again < CUT * 4.1
    assert not list(village.cache.glob(".prefetch/staging/*"))
    village.verify(village.nix)
    assert not list((village.directory / "tmp").iterdir())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what a server has sent is no event
        await asyncio.sleep(0.01)


def two_ways(place: Place) -> tuple[bytes, bytes]:
    """A NAR compressed in two ways, of one length, in which everything is at another place."""
    file = zstd.compress(place.nar)
    little, much = _skipped(b"little"), _skipped(b"much" * 999)
    return little + file + much, much + file + little


def _skipped(data: bytes) -> bytes:
    """A frame that says nothing, of which a zstd file may have any number."""
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


def changes(old: dict[str, Any], new: dict[str, Any], **how: Any) -> Callable[[Place], None]:
    """A cache that has a NAR compressed in another way after the download was cut."""

    def serve(place: Place) -> None:
        first, second = two_ways(place)
        assert len(first) == len(second)
        assert place.path is not None
        place.says(place.narinfo(compression="zstd"))
        place.on(
            "nar/x.nar",
            Reply(body=first, cut_after=CUT, **old),
            Reply(body=second, **new, **how),
        )

    return serve


def stays(validator: dict[str, Any], **how: Any) -> Callable[[Place], None]:
    """A cache that has the same NAR all the time."""

    def serve(place: Place) -> None:
        whole = Reply(body=place.nar, **validator, **how)
        place.gives(replace(whole, cut_after=CUT), whole)

    return serve


def lying(request: Request, reply: Reply) -> Reply:
    """Where the rest of a file is asked for, what some of the caches answer."""
    asked = RANGE.fullmatch(request.headers.get("range", ""))
    name = request.path.split("/")[1]
    if asked is None or name not in LIES:
        return reply
    start, size = int(asked[1]), len(reply.body)
    said, body = LIES[name](start, size), bytes(reply.body)[start:]
    if name == "a-part-that-lies":
        body = bytes(size - start)
    headers = {"Content-Range": said}
    return replace(reply, status=206, body=body, headers=headers, ranges=False)


LIES: dict[str, Callable[[int, int], str]] = {
    "another-part": lambda start, size: f"bytes {start // 2}-{size - 1}/{size}",
    "no-part-at-all": lambda _, size: f"bytes */{size}",
    "a-part-of-another-size": lambda start, size: f"bytes {start}-{size}/{size + 1}",
    "a-part-that-lies": lambda start, size: f"bytes {start}-{size - 1}/{size}",
}


def dated(date: str) -> dict[str, Any]:
    return {"headers": {"Last-Modified": date}}


CHANGED = "it changed while it was being downloaded"
CASES = [
    CacheCase(
        name="another-etag",
        serve=changes({"etag": '"1"'}, {"etag": '"2"'}),
        said=CHANGED,
        arrives=True,
    ),
    CacheCase(
        name="another-date",
        serve=changes(dated(MODIFIED), dated(LATER)),
        said=CHANGED,
        arrives=True,
    ),
    CacheCase(name="no-validator", serve=changes({}, {}), said=CHANGED, arrives=True),
    CacheCase(
        name="another-weak-etag",
        serve=changes({"etag": 'W/"1"'}, {"etag": 'W/"2"'}),
        said=CHANGED,
        arrives=True,
    ),
    CacheCase(
        name="an-etag-no-more", serve=changes({"etag": '"1"'}, {}), said=CHANGED, arrives=True
    ),
    CacheCase(
        name="ranges-ignored-and-changed",
        serve=changes({"etag": '"1"'}, {"etag": '"2"'}, ranges=False),
        said=CHANGED,
        arrives=True,
    ),
    CacheCase(
        name="ranges-ignored", serve=stays({"etag": '"1"'}, ranges=False), said="", arrives=True
    ),
    CacheCase(name="weak-etag", serve=stays({"etag": 'W/"1"'}), said="", arrives=True),
    CacheCase(name="nothing-said", serve=stays({}), said="", arrives=True),
    *(
        CacheCase(
            name=name,
            serve=stays({"etag": '"1"'}),
            said="a part that was not requested",
            arrives=True,
        )
        for name in ("another-part", "no-part-at-all")
    ),
    CacheCase(
        name="a-part-that-lies",
        serve=stays({"etag": '"1"'}),
        said="a-part-that-lies: NAR: /: expected",
    ),
    CacheCase(
        name="a-part-of-another-size", serve=stays({"etag": '"1"'}), said=CHANGED, arrives=True
    ),
    CacheCase(
        name="changes-each-time",
        serve=lambda place: place.gives(
            *(
                replace(Reply(body=place.nar, cut_after=CUT), etag=f'"{number}"')
                for number in range(40)
            )
        ),
        said=CHANGED,
    ),
]


@pytest.fixture(scope="module")
def aftermath(village: Village) -> Aftermath:
    return village.run([replace(case, size=SIZE) for case in CASES], fault=lying)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_is_put_together_of_two_files(aftermath: Aftermath, case: CacheCase) -> None:
    aftermath.check(case)


def test_nix_reads_all_that_arrived(aftermath: Aftermath, village: Village) -> None:
    village.check(aftermath, CASES, village.nix)
