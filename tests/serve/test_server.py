"""The server over real sockets: what it answers, and what becomes of what it should not see."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import re
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig.made_paths import Made, chain, generation, input_addressed, put, put_as
from rig.serving import Served, serve_directory

from mirror.destinations import CacheDirectory
from mirror.destinations.cache.layout import SERVING
from mirror.errors import DestinationError
from mirror.formats import nar
from mirror.formats.content_address import fixed_output_path
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.path_info import PathInfo
from mirror.formats.verifier import Claim
from mirror.nix.evaluation.flake_inputs import LockedInput
from mirror.serve.http.server import _LoopErrors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

LARGE = hashlib.shake_256(b"large").digest(3_000_000)
SOURCE = hashlib.shake_256(b"source").digest(300_000)


def fixed(name: str, content: bytes) -> Made:
    digest = Hash.of(content)
    data = b"".join(nar.serialize(nar.Regular.of(content)))
    info = PathInfo(
        path=fixed_output_path(name, hash=digest, recursive=False),
        nar_hash=Hash.of(data),
        nar_size=len(data),
        references=(),
        content_address=f"fixed:{digest.nix32}",
    )
    return Made(info, data)


def tree(name: str) -> Made:
    node = nar.Directory({b"flake.nix": nar.Regular.of(b"{ }"), b"l": nar.Symlink(b"flake.nix")})
    data = b"".join(nar.serialize(node))
    digest = Hash.of(data)
    info = PathInfo(
        path=fixed_output_path(name, hash=digest, recursive=True),
        nar_hash=digest,
        nar_size=len(data),
        references=(),
        content_address=f"fixed:r:{digest.nix32}",
    )
    return Made(info, data)


def large() -> Made:
    """A path whose NAR's file is too large to be sent in one go."""
    made = input_addressed("large")
    data = b"".join(nar.serialize(nar.Regular.of(LARGE)))
    return Made(replace(made.info, nar_hash=Hash.of(data), nar_size=len(data)), data)


FILE, INPUT, LARGE_PATH, LINKS = fixed("a.tar", SOURCE), tree("source"), large(), chain(3)


@pytest.fixture
async def cache(tmp_path: Path) -> Path:
    """A cache directory with one generation of what is above."""
    everything = [FILE, INPUT, *LINKS]
    async with CacheDirectory.open(tmp_path / "cache") as directory:
        for made in everything:
            await put(directory, made)
        # As upstream gave it: not compressed, so that its size is known here.
        await put_as(directory, Claim(info=LARGE_PATH.info, compression="none"), LARGE_PATH.nar)
        await directory.keep(
            replace(
                generation([*everything, LARGE_PATH]),
                sources={FILE.path: Hash.of(SOURCE)},
                inputs=(LockedInput(name="lib", path=INPUT.path, last_modified=1_700_000_000),),
            )
        )
    return tmp_path / "cache"


@pytest.fixture
async def served(cache: Path) -> AsyncIterator[Served]:
    async with serve_directory(cache) as running:
        yield running


async def nar_target(served: Served, made: Made) -> str:
    reply = await served.ask(f"/{made.path.hash_part}.narinfo")
    return f"/{parse_narinfo(reply.body).url}"


async def test_what_a_client_of_a_cache_asks(served: Served, cache: Path) -> None:
    about = await served.ask("/nix-cache-info")
    assert about.body == b"StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n"
    reply = await served.ask(f"/{LINKS[1].path.hash_part}.narinfo")
    assert reply.body == (cache / f"{LINKS[1].path.hash_part}.narinfo").read_bytes()
    assert reply.headers["Content-Type"] == "text/x-nix-narinfo"
    target = await nar_target(served, LARGE_PATH)
    whole = await served.ask(target)
    assert (whole.status, whole.body) == (200, LARGE_PATH.nar)
    assert whole.headers["Content-Length"] == str(len(LARGE_PATH.nar))
    assert (await served.ask(f"/{'0' * 32}.narinfo")).status == 404
    assert served.log == []


async def test_parts_of_files(served: Served) -> None:
    target = await nar_target(served, LARGE_PATH)
    size = len(LARGE_PATH.nar)
    for header, start, end in (("5-9", 5, 10), ("100-", 100, size), ("-7", size - 7, size)):
        reply = await served.ask(target, Range=f"bytes={header}")
        assert reply.status == 206
        assert reply.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        assert reply.headers["Content-Length"] == str(end - start)
        assert reply.body == LARGE_PATH.nar[start:end]
    beyond = await served.ask(target, Range=f"bytes={size}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")


async def test_the_head_of_a_file_is_of_all_of_it(served: Served) -> None:
    target = await nar_target(served, LARGE_PATH)
    size = len(LARGE_PATH.nar)
    for headers in ({}, {"Range": "bytes=5-9"}, {"Range": f"bytes={size}-"}):
        reply = await served.ask(target, method="HEAD", **headers)
        assert (reply.status, reply.headers["Content-Length"], reply.body) == (200, str(size), b"")
        assert "Content-Range" not in reply.headers


async def test_a_small_file_comes_from_memory_or_from_the_disk(served: Served, cache: Path) -> None:
    target = await nar_target(served, LINKS[0])
    with (cache / target.lstrip("/")).open("rb") as file:
        content = file.read()
        os.fsync(file.fileno())
        for _ in range(2):
            reply = await served.ask(target)
            assert (reply.status, reply.body) == (200, content)
            part = await served.ask(target, Range="bytes=3-20")
            assert (part.status, part.body) == (206, content[3:21])
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert served.log == []


async def test_what_a_client_has_already_is_not_sent_again(served: Served) -> None:
    for target in (await nar_target(served, LARGE_PATH), "/nix-cache-info"):
        first = await served.ask(target)
        again = await served.ask(target, If_None_Match=first.headers["ETag"])
        assert (again.status, again.body) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]


async def test_a_resumed_download_is_spliced_only_with_the_same_file(served: Served) -> None:
    target = await nar_target(served, LARGE_PATH)
    tag = (await served.ask(target, method="HEAD")).headers["ETag"]
    rest = await served.ask(target, Range="bytes=1000-", If_Range=tag)
    assert (rest.status, rest.body) == (206, LARGE_PATH.nar[1000:])
    other = await served.ask(target, Range="bytes=1000-", If_Range='"other"')
    assert (other.status, other.body) == (200, LARGE_PATH.nar)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_source_by_its_hash(served: Served, method: str) -> None:
    digest = Hash.of(SOURCE)
    for target in (f"/sha256/{digest.base16}", f"/sha256/{digest.base32}", f"//{digest.sri}"):
        reply = await served.ask(target, method=method)
        assert reply.status == 200
        assert reply.headers["Content-Length"] == str(len(SOURCE))
        assert reply.body == (SOURCE if method == "GET" else b"")
    part = await served.ask(f"/sha256/{digest.base16}", Range="bytes=250000-250009")
    assert (part.status, part.body) == (206, SOURCE[250_000:250_010])
    assert (await served.ask(f"/sha256/{Hash.of(b'').base16}")).status == 404


async def test_an_input_as_an_archive(served: Served) -> None:
    reply = await served.ask(f"/inputs/{INPUT.path.hash_part}.tar")
    assert reply.status == 200
    assert len(reply.body) == int(reply.headers["Content-Length"])
    assert reply.body.startswith(b"source/")
    # Only what is an input of some flake is given in this shape.
    assert (await served.ask(f"/inputs/{FILE.path.hash_part}.tar")).status == 404


async def test_a_file_that_was_cut_short_is_an_error_not_a_shorter_answer(
    served: Served, cache: Path
) -> None:
    target = await nar_target(served, LARGE_PATH)
    file = cache / target.lstrip("/")
    file.write_bytes(LARGE_PATH.nar[:-1])
    for asked in ({}, {"Range": "bytes=0-5"}):
        reply = await served.ask(target, **asked)
        assert reply.status == 500
        assert b"damaged" in reply.body
    assert [line for line in served.log if "damaged" in line] == served.log
    assert len(served.log) == 2


async def test_a_narinfo_whose_nar_is_damaged_leads_nobody_there(
    served: Served, cache: Path
) -> None:
    target = f"/{LARGE_PATH.path.hash_part}.narinfo"
    file = cache / (await nar_target(served, LARGE_PATH)).lstrip("/")
    file.write_bytes(LARGE_PATH.nar[:-1])
    assert (await served.ask(target)).status == 404
    file.unlink()
    assert (await served.ask(target)).status == 404
    assert len(served.log) == 2
    assert all("damaged" in line for line in served.log)


async def test_a_damaged_source_is_never_a_complete_answer(served: Served, cache: Path) -> None:
    """Its NAR is compressed: that it is damaged shows while it is sent, or before."""
    digest = Hash.of(SOURCE)
    file = cache / (await nar_target(served, FILE)).lstrip("/")
    data = bytearray(file.read_bytes())
    await served.ask(f"/sha256/{digest.base16}", method="HEAD")
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    file.write_bytes(data)
    said = await served.say(
        f"GET /sha256/{digest.base16} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    head, _, body = said.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(SOURCE)}".encode() in head or b" 500 " in head
    assert len(body) < len(SOURCE)
    assert len(served.log) == 1


async def test_a_link_out_of_the_directory_is_not_followed(
    served: Served, cache: Path, tmp_path: Path
) -> None:
    target = await nar_target(served, LARGE_PATH)
    file = cache / target.lstrip("/")
    file.unlink()
    (tmp_path / "secret").write_bytes(LARGE_PATH.nar)
    file.symlink_to(tmp_path / "secret")
    assert (await served.ask(target)).status == 500
    narinfo = cache / f"{LINKS[0].path.hash_part}.narinfo"
    narinfo.unlink()
    narinfo.symlink_to(tmp_path / "secret")
    assert (await served.ask(f"/{LINKS[0].path.hash_part}.narinfo")).status == 404


async def test_a_narinfo_that_names_another_file_gives_nobody_that_file(
    served: Served, cache: Path
) -> None:
    narinfo = cache / f"{FILE.path.hash_part}.narinfo"
    narinfo.write_bytes(re.sub(rb"URL: .*", b"URL: nar/../nix-cache-info", narinfo.read_bytes()))
    assert (await served.ask(f"/sha256/{Hash.of(SOURCE).base16}")).status == 500
    assert (await served.ask("/nar/../nix-cache-info")).status == 404


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /../../../../etc/passwd HTTP/1.1", 404),
        ("GET /nar/..%2f..%2f..%2fetc/passwd HTTP/1.1", 404),
        ("GET /nar/%2e%2e/nix-cache-info HTTP/1.1", 404),
        ("GET //etc/passwd HTTP/1.1", 404),
        ("GET /.prefetch/lock HTTP/1.1", 404),
        ("GET /generations/pi/1.json HTTP/1.1", 404),
        ("POST / HTTP/1.1", 405),
        ("PUT /nar/x.nar HTTP/1.1", 405),
        ("DELETE /nix-cache-info HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 405),
        ("GET / HTTP/9.9", 400),
        ("GET", 400),
        ("GET /" + "a" * 20_000 + " HTTP/1.1", 400),
        ("\x00\x01\x02", 400),
    ],
)
async def test_what_is_refused(served: Served, request_line: str, status: int) -> None:
    said = await served.say(f"{request_line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert re.match(rf"HTTP/1\.[01] {status} ".encode(), said), said[:80]
    assert b"root:" not in said
    assert len(served.log) <= 1, served.log
    if status != 404 or ".." in request_line:
        assert len(served.log) == 1
    assert (await served.ask("/nix-cache-info")).status == 200


@pytest.mark.parametrize(
    "header",
    [
        "Range: bytes=" + ",".join(f"{n}-{n}" for n in range(2000)),
        "Range: " + "bytes=0-" * 900,
        "X-Long: " + "a" * 20_000,
        "no colon",
        "Content-Length: -1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Transfer-Encoding: nonsense",
        "Bad\x00Name: x",
    ],
    ids=lambda header: repr(header[:24]),
)
async def test_absurd_headers_are_refused_and_logged_once(served: Served, header: str) -> None:
    request = f"GET /nix-cache-info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n"
    said = await served.say(request.encode())
    assert b" 400 " in said.partition(b"\r\n")[0]
    assert len(served.log) == 1, served.log
    assert len(served.log[0]) < 1000
    assert (await served.ask("/nix-cache-info")).status == 200


async def test_what_a_client_makes_up_cannot_pass_for_a_line_of_the_log(served: Served) -> None:
    await served.say(b"POST /\x1b[31m\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await served.ask("/..", Host="evil\x7f")
    for line in served.log:
        assert line.isprintable(), line


async def test_the_page_trusts_no_host_header(served: Served) -> None:
    reply = await served.ask("/", Host='"><script>alert(1)</script>')
    assert b"<script>alert" not in reply.body
    assert b"http://localhost" in reply.body
    reply = await served.ask("/", Host="mirror.lan:8080")
    assert b"http://mirror.lan:8080" in reply.body


WORDS = [
    *(b"GET ", b"HEAD ", b"/nar/", b"..", b"%2e%2e%2f", b" HTTP/1.1", b"\r\n", b"\n"),
    *(b"Host: x\r\n", b"Range: bytes=", b"0-", b",", b"\r\n\r\n", b"/nix-cache-info"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(WORDS),
        ),
        max_size=12,
    ).map(b"".join)
)
def test_any_bytes_leave_the_server_as_it_was(fuzzed: Fuzzed, data: bytes) -> None:
    said = fuzzed.say(data)
    assert b"root:" not in said
    if said:
        assert re.match(rb"HTTP/\d\.\d [1-5]\d\d ", said), said[:80]
        assert b" 500 " not in said.partition(b"\r\n")[0], (said, fuzzed.served.log)
    assert fuzzed.ask("/nix-cache-info") == 200


class Fuzzed:
    """A server on an event loop of its own, for a test that is not asynchronous."""

    def __init__(self, runner: asyncio.Runner, served: Served) -> None:
        self._runner = runner
        self.served = served

    def say(self, data: bytes) -> bytes:
        return self._runner.run(self.served.say(data, patience=0.05))

    def ask(self, target: str) -> int:
        return self._runner.run(self.served.ask(target)).status


@pytest.fixture
def fuzzed(tmp_path: Path) -> Iterator[Fuzzed]:
    async def prepare(stack: contextlib.AsyncExitStack) -> Served:
        async with CacheDirectory.open(tmp_path / "cache") as directory:
            await put(directory, LINKS[0])
        return await stack.enter_async_context(serve_directory(tmp_path / "cache"))

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        try:
            yield Fuzzed(runner, runner.run(prepare(stack)))
        finally:
            runner.run(stack.aclose())


async def test_a_connection_serves_many_requests(served: Served) -> None:
    def talk() -> list[int]:
        statuses = []
        with socket.create_connection(served.address, timeout=200) as connection:
            stream = connection.makefile("rb")
            for _ in range(50):
                connection.sendall(b"GET /nix-cache-info HTTP/1.1\r\nHost: x\r\n\r\n")
                statuses.append(int(stream.readline().split()[1]))
                length = 0
                while (line := stream.readline().strip()) != b"":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                stream.read(length)
        return statuses

    assert await asyncio.to_thread(talk) == [200] * 50


async def test_stopping_finishes_what_is_on_its_way(cache: Path) -> None:
    """A client that has read a part of a large file gets the rest after the server was stopped."""
    async with serve_directory(cache) as served:
        target = await nar_target(served, LARGE_PATH)
        reader, writer = await asyncio.open_connection(*served.address, limit=1 << 16)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        read = await reader.readexactly(1000)
        stopping = asyncio.create_task(served.server.stop())
        # It takes nothing new…
        while True:
            try:
                (await asyncio.open_connection(*served.address))[1].close()
            except (ConnectionRefusedError, ConnectionResetError):
                break
        assert not stopping.done()
        # … and finishes this.
        read += await reader.readexactly(len(LARGE_PATH.nar) - len(read))
        assert read == LARGE_PATH.nar
        await stopping
        writer.close()


async def test_stopping_waits_no_longer_than_it_says_for_whoever_reads_no_more(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = 6.0
    monkeypatch.setattr("mirror.serve.http.server.STOP_SECONDS", patience)
    async with serve_directory(cache) as served:
        target = await nar_target(served, LARGE_PATH)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(served.address)
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await asyncio.to_thread(client.recv, 1)
            begun = asyncio.get_running_loop().time()
            await served.server.stop()
            # Twice as long would be for two waits; what is between is for a busy machine.
            assert 0.9 * patience < asyncio.get_running_loop().time() - begun < 2 * patience


async def test_a_client_that_goes_away_is_no_news(served: Served) -> None:
    target = await nar_target(served, LARGE_PATH)
    for _ in range(20):
        _, writer = await asyncio.open_connection(*served.address)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await writer.drain()
        writer.transport.abort()
        await asyncio.sleep(0)
    assert (await served.ask(target)).body == LARGE_PATH.nar
    assert served.log == []
    while served.counters.in_flight:  # noqa: ASYNC110 - nothing tells when the last is noticed
        await asyncio.sleep(0.01)


async def test_what_comes_while_it_serves_is_served(served: Served, cache: Path) -> None:
    new = input_addressed("new")
    assert (await served.ask(f"/{new.path.hash_part}.narinfo")).status == 404
    before = json.loads((await served.ask("/status.json")).body)
    async with CacheDirectory.open(cache) as directory:
        await put(directory, new)
        await directory.keep(generation([new], target="new"))
    assert (await served.ask(await nar_target(served, new))).status == 200
    after = json.loads((await served.ask("/status.json")).body)
    assert [host["name"] for host in before["hosts"]] == ["pi"]
    assert [host["name"] for host in after["hosts"]] == ["new", "pi"]


async def test_a_file_that_no_narinfo_names_is_not_served(served: Served, cache: Path) -> None:
    (cache / "nar/stray.nar").write_bytes(b"x")
    assert (await served.ask("/nar/stray.nar")).status == 404


@pytest.mark.parametrize(
    "damaged", ["generations/pi/2.json", "receipts/pi.json", "runs/pi.json", "public-keys"]
)
async def test_a_file_that_cannot_be_read_is_named_and_all_else_served(
    served: Served, cache: Path, damaged: str
) -> None:
    file = cache / damaged
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"\xff<script>")
    for target in ("/", "/status.json", "/metrics", f"/sha256/{Hash.of(SOURCE).base16}"):
        assert (await served.ask(target)).status == 200
    assert (await served.ask(f"/inputs/{INPUT.path.hash_part}.tar")).status == 200
    document = json.loads((await served.ask("/status.json")).body)
    (said,) = document["unreadable"]
    assert damaged in said
    assert [host["name"] for host in document["hosts"]] == ["pi"]
    page = (await served.ask("/")).body.decode()
    assert damaged in page
    assert page.count("<script") == 1, "its own"
    assert "\nprefetch_unreadable_files 1\n" in (await served.ask("/metrics")).body.decode()
    assert len(served.log) == (damaged != "public-keys"), "told once, however often it is asked"
    file.unlink()
    assert json.loads((await served.ask("/status.json")).body)["unreadable"] == []


async def test_what_is_no_narinfo_is_neither_waited_for_nor_given_in_part(cache: Path) -> None:
    pipe, endless, long = (f"{digit * 32}.narinfo" for digit in "012")
    os.mkfifo(cache / pipe)
    (cache / endless).symlink_to("/dev/zero")
    narinfo = (cache / f"{LARGE_PATH.path.hash_part}.narinfo").read_bytes()
    (cache / long).write_bytes(narinfo + b"Other: x\n" * 200_000)
    file = FILE.path.hash_part
    nar = cache / parse_narinfo((cache / f"{file}.narinfo").read_bytes()).url
    nar.unlink()
    os.mkfifo(nar)
    async with serve_directory(cache) as served:
        for name in (pipe, endless, long):
            assert (await served.ask(f"/{name}")).status == 404
        assert (await served.ask(await nar_target(served, LARGE_PATH))).status == 200
        # Asked twice, so that no thread is left waiting for it.
        for _ in range(2):
            assert (await served.ask(f"/sha256/{Hash.of(SOURCE).base16}")).status == 500


@pytest.mark.parametrize(
    "line",
    [b"FileSize: " + b"9" * 5000, b"FileSize: 1", b"URL: nar/..", b"URL: nar/\xff", b"URL: nar/\0"],
    ids=lambda line: repr(line[:12]),
)
async def test_a_narinfo_whose_file_cannot_be_is_not_given(cache: Path, line: bytes) -> None:
    """Neither before the server starts nor while it runs, and all others are."""
    damaged, other = (cache / f"{made.path.hash_part}.narinfo" for made in (LARGE_PATH, LINKS[0]))
    name = line.partition(b": ")[0]
    whole = damaged.read_bytes()
    damaged.write_bytes(re.sub(rb"(?m)^" + name + rb": .*$", lambda _: line, whole))
    async with serve_directory(cache) as served:
        for _ in range(2):
            assert (await served.ask(f"/{damaged.name}")).status == 404
            reply = await served.ask(f"/{other.name}")
            assert (reply.status, reply.body) == (200, other.read_bytes())
            assert (await served.ask(await nar_target(served, LINKS[0]))).status == 200
            assert (await served.ask("/status.json")).status == 200
            other.write_bytes(other.read_bytes().replace(b"\n", b"\nOther: x\n", 1))


async def test_what_cannot_be_listed_is_said(cache: Path) -> None:
    (cache / ".prefetch/retired").write_bytes(b"")
    with pytest.raises(DestinationError, match="retired: Not a directory"):
        async with serve_directory(cache):
            pass


async def test_whoever_prunes_is_told_as_soon_as_it_can_be(tmp_path: Path) -> None:
    """It serves while a prune is under way, or nothing is there yet, and has the lock then."""
    cache = tmp_path / "cache"
    lock = cache / SERVING
    async with serve_directory(cache) as served:
        assert (await served.ask("/nix-cache-info")).status == 200
        async with CacheDirectory.open(cache) as directory:
            await put(directory, LINKS[0])
        await locked(lock)
    with lock.open() as pruning:
        fcntl.flock(pruning, fcntl.LOCK_EX)
        async with serve_directory(cache) as served:
            target = f"/{LINKS[0].path.hash_part}.narinfo"
            assert (await served.ask(target)).status == 200
            fcntl.flock(pruning, fcntl.LOCK_UN)
            await locked(lock)
    with lock.open() as pruning:
        fcntl.flock(pruning, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def locked(lock: Path) -> None:
    """Wait until somebody holds the lock, shared."""
    with lock.open() as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return
            fcntl.flock(file, fcntl.LOCK_UN)
            await asyncio.sleep(0.05)


async def test_metrics_count_what_was_asked(served: Served) -> None:
    await served.ask(f"/{LINKS[0].path.hash_part}.narinfo")
    await served.ask("/nothing/here")
    text = (await served.ask("/metrics")).body.decode()
    assert 'prefetch_requests_total{kind="narinfo",status="200"} 1\n' in text
    assert 'prefetch_requests_total{kind="nothing",status="404"} 1\n' in text
    assert 'prefetch_generations{target="pi"} 1\n' in text
    for line in text.splitlines():
        assert re.fullmatch(
            r'# (HELP|TYPE) prefetch_\w+ .+|prefetch_\w+(\{(\w+="[^"]*",?)+\})? [0-9.e+]+', line
        ), line


async def test_a_try_to_take_connections_that_comes_after_the_end_is_not_told_of() -> None:
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_LoopErrors(told.append))
    gone = socket.create_server(("127.0.0.1", 0))
    gone.close()
    # As the loop does a second after there was no file left.
    loop.call_soon(loop._start_serving, asyncio.Protocol, gone)  # type: ignore[attr-defined]
    loop.call_soon(int, "no number")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (line,) = told
    assert "no number" in line
