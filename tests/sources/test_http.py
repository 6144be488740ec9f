from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import re
import ssl
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from rig.ftp import ftp_server
from rig.patience import PATIENT, QUICK, Pauses
from rig.servers import RANGE, Reply, Request, Server

from mirror.errors import (
    IntegrityError,
    NotAvailableError,
    RequestError,
    SourceError,
    ToolError,
    TransientError,
)
from mirror.sources.http.client import HttpClient
from mirror.sources.http.settings import HttpSettings
from mirror.sources.pace import RateLimiter
from mirror.sources.server_errors import MissingError
from mirror.system.chunks import CHUNK_SIZE

if TYPE_CHECKING:
    from pathlib import Path

BODY = os.urandom(3 * CHUNK_SIZE + 12345)


async def read(
    client: HttpClient,
    url: str,
    expected_size: int | None = None,
    *,
    begun: asyncio.Event | None = None,
) -> bytes:
    """All of a body; ``begun`` is set once the first chunk of it is there."""
    read = b""
    async with client.stream(url, expected_size=expected_size) as chunks:
        async for chunk in chunks:
            read += chunk
            if begun is not None:
                begun.set()
    return read


async def test_a_body_arrives_whole_in_large_chunks(client: HttpClient, server: Server) -> None:
    url = server.on("/a", Reply(body=BODY, piece=10_000))
    async with client.stream(url, expected_size=len(BODY)) as chunks:
        pieces = [chunk async for chunk in chunks]
    assert b"".join(pieces) == BODY
    assert all(len(piece) >= CHUNK_SIZE for piece in pieces[:-1])
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [404, 403, 410])
async def test_what_a_server_does_not_have_is_missing_at_once(
    client: HttpClient, server: Server, pauses: Pauses, status: int
) -> None:
    url = server.on("/a", Reply(status=status))
    with pytest.raises(MissingError, match=f"HTTP {status}"):
        await client.get_small(url, cap=100)
    with pytest.raises(MissingError, match=f"HTTP {status}"):
        await read(client, url)
    assert not pauses.seconds


@pytest.mark.parametrize("status", [401, 400, 501])
async def test_a_refusal_is_not_tried_again(
    client: HttpClient, server: Server, status: int
) -> None:
    url = server.on("/a", Reply(status=status))
    with pytest.raises(NotAvailableError) as caught:
        await client.get_small(url, cap=100)
    assert not isinstance(caught.value, MissingError)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
async def test_a_passing_failure_is_tried_again_with_growing_pauses(
    client: HttpClient, server: Server, pauses: Pauses, status: int
) -> None:
    bad = Reply(status=status)
    url = server.on("/a", bad, bad, bad, Reply(body=b"at last"))
    assert await client.get_small(url, cap=100) == b"at last"
    assert pauses.seconds == [0.5, 1.0, 2.0]


async def test_attempts_end(client: HttpClient, server: Server) -> None:
    url = server.on("/a", Reply(status=503))
    for asking in (client.get_small(url, cap=100), read(client, url)):
        server.requests.clear()
        with pytest.raises(TransientError, match="HTTP 503"):
            await asking
        assert len(server.requests) == client.settings.attempts


async def test_retry_after_is_honoured_in_seconds_and_as_a_date(
    server: Server, pauses: Pauses
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    url = server.on(
        "/a",
        Reply(status=429, headers={"Retry-After": "7"}),
        Reply(status=503, headers={"Retry-After": "Thu, 01 Jan 2026 00:01:30 GMT"}),
        Reply(body=b"ok"),
    )
    async with HttpClient(PATIENT, sleep=pauses, now=lambda: now) as client:
        assert await client.get_small(url, cap=100) == b"ok"
    assert pauses.seconds == [7, 90]


async def test_a_retry_after_of_a_day_is_a_failure_that_says_so(
    client: HttpClient, server: Server, pauses: Pauses
) -> None:
    url = server.on("/a", Reply(status=429, headers={"Retry-After": "86400"}))
    with pytest.raises(TransientError, match="asks to wait 86400 s") as caught:
        await client.get_small(url, cap=100)
    assert caught.value.retry_after == 86400
    assert not pauses.seconds


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("validator", [Reply(etag='"v1"'), Reply(headers={"Last-Modified": "now"})])
async def test_a_cut_download_goes_on_where_it_was_cut(
    client: HttpClient, server: Server, *, reset: bool, validator: Reply
) -> None:
    whole, begun = replace(validator, body=BODY), asyncio.Event()
    cut = replace(whole, cut_after=2_000_000, reset=reset, until=begun)
    url = server.on("/a", cut, whole)
    assert await read(client, url, len(BODY), begun=begun) == BODY
    assert server.requests[1].headers["range"].startswith("bytes=")
    assert server.requests[1].headers["if-range"] in {'"v1"', "now"}


async def test_a_server_without_ranges_sends_all_again_and_nothing_is_doubled(
    client: HttpClient, server: Server
) -> None:
    cut = Reply(body=BODY, cut_after=2_000_000, ranges=False, etag='"v1"')
    url = server.on("/a", cut, Reply(body=BODY, ranges=False, etag='"v1"'))
    assert await read(client, url) == BODY


async def test_a_cut_without_a_validator_starts_again_without_doubling(
    client: HttpClient, server: Server
) -> None:
    url = server.on("/a", Reply(body=BODY, cut_after=2_000_000), Reply(body=BODY))
    assert await read(client, url) == BODY
    assert "range" not in server.requests[1].headers


@pytest.mark.parametrize("place", [0, CHUNK_SIZE // 2, CHUNK_SIZE - 1])
async def test_a_file_that_changed_is_noticed_also_without_a_validator(
    client: HttpClient, server: Server, place: int
) -> None:
    """Of what was handed on before the cut: the first chunk is, before the server cuts."""
    begun = asyncio.Event()
    cut = Reply(body=BODY, cut_after=2_000_000, until=begun)
    url = server.on("/a", cut, Reply(body=changed(BODY, place)))
    with pytest.raises(TransientError, match="changed while"):
        await read(client, url, begun=begun)


@pytest.mark.parametrize("place", [CHUNK_SIZE, 1_999_999, 2_000_000])
async def test_what_was_not_handed_on_may_change(
    client: HttpClient, server: Server, place: int
) -> None:
    """Not all that comes before a cut is: then it is the new file, and never one of both."""
    begun, again = asyncio.Event(), changed(BODY, place)
    cut = Reply(body=BODY, cut_after=2_000_000, until=begun)
    url = server.on("/a", cut, Reply(body=again))
    try:
        assert await read(client, url, begun=begun) == again
    except TransientError as error:
        assert "changed while" in error.message  # noqa: PT017 - either of both is right


def changed(body: bytes, place: int) -> bytes:
    """The body with one byte of it changed."""
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


async def test_all_of_it_again_and_again_ends(client: HttpClient, server: Server) -> None:
    url = server.on(
        "/a", *(Reply(body=BODY * 5, cut_after=n * 2 * CHUNK_SIZE) for n in range(1, 7))
    )
    with pytest.raises(TransientError, match="cut short"):
        await read(client, url)
    assert len(server.requests) == client.settings.attempts


async def test_a_file_that_changed_between_the_pieces_is_not_patched_together(
    client: HttpClient, server: Server
) -> None:
    begun = asyncio.Event()
    cut = Reply(body=BODY, cut_after=2_000_000, etag='"v1"', until=begun)
    url = server.on("/a", cut, Reply(body=BODY[::-1], etag='"v2"'))
    with pytest.raises(TransientError, match="changed while"):
        await read(client, url, begun=begun)


async def test_a_part_of_a_changed_file_is_refused_although_the_server_ignores_if_range(
    client: HttpClient, server: Server
) -> None:
    def part(request: Request, reply: Reply) -> Reply:
        asked = RANGE.fullmatch(request.headers.get("range", ""))
        if asked is None:
            return reply
        start = int(asked[1])
        headers = {"ETag": '"v2"', "Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"}
        return Reply(status=206, body=BODY[start:], headers=headers, ranges=False)

    begun = asyncio.Event()
    server.fault = part
    cut = Reply(body=BODY, cut_after=2_000_000, headers={"ETag": '"v1"'}, until=begun)
    url = server.on("/a", cut)
    with pytest.raises(TransientError, match="changed while"):
        await read(client, url, begun=begun)
    assert len(server.requests) == 2


async def test_a_part_that_nobody_asked_for_is_refused(client: HttpClient, server: Server) -> None:
    url = server.on("/a", Reply(status=206, body=b"x", headers={"Content-Range": "bytes 0-0/9"}))
    with pytest.raises(NotAvailableError, match="not requested"):
        await read(client, url)


async def test_a_rate_limit_does_not_make_a_server_look_slow(server: Server) -> None:
    limiter = RateLimiter(QUICK.least_bytes_per_second / 4)
    url = server.on("/a", Reply(body=bytes(30_000), piece=10_000))
    async with HttpClient(QUICK, limiter=limiter) as client:
        assert await read(client, url) == bytes(30_000)


async def test_a_weak_etag_is_not_used_to_resume(client: HttpClient, server: Server) -> None:
    cut = Reply(body=BODY, cut_after=2_000_000, etag='W/"v1"')
    url = server.on("/a", cut, Reply(body=BODY, etag='W/"v1"'))
    assert await read(client, url) == BODY
    assert "range" not in server.requests[1].headers


async def test_a_line_that_is_cut_every_two_megabytes_still_brings_all(
    client: HttpClient, server: Server
) -> None:
    body = os.urandom(20 * CHUNK_SIZE)
    cut = Reply(body=body, cut_after=2 * CHUNK_SIZE, etag='"v1"')
    url = server.on("/a", cut)
    assert await read(client, url, len(body)) == body


async def test_a_cut_without_content_length_is_noticed_where_the_size_is_known(
    client: HttpClient, server: Server
) -> None:
    url = server.on("/a", Reply(body=BODY, length=False, cut_after=1_000_000))
    with pytest.raises(TransientError, match="cut short after 1000000 bytes"):
        await read(client, url, len(BODY))
    assert len(await read(client, url)) == 1_000_000  # nobody can know here: the hash will


async def test_more_than_expected_is_refused(client: HttpClient, server: Server) -> None:
    for length in (True, False):
        url = server.on("/a", Reply(body=BODY, length=length))
        with pytest.raises(IntegrityError, match="expected"):
            await read(client, url, 1000)


async def test_a_cap_bounds_what_is_read(client: HttpClient, server: Server) -> None:
    url = server.on("/a", Reply(body=BODY, length=False))
    with pytest.raises(IntegrityError):
        await client.get_small(url, cap=1000)
    async with client.stream(url, cap=CHUNK_SIZE + 1) as chunks:
        with pytest.raises(IntegrityError):
            b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("reply", [Reply(body=bytes(9), hang=True), Reply(hang_first=True)])
async def test_silence_times_out(quick_client: HttpClient, server: Server, reply: Reply) -> None:
    """The server never says more: that this ends at all is what shows it."""
    url = server.on("/a", reply)
    with pytest.raises(TransientError, match="timed out"):
        await read(quick_client, url)
    assert len(server.requests) == 2  # who has timed out is asked once more


@pytest.mark.parametrize("sent", [b"HTTP/1.1 100 Continue\r\n\r\n", b"a"], ids=["interim", "slow"])
async def test_a_head_that_does_not_end_is_given_up(server: Server, sent: bytes) -> None:
    before = b"" if sent.endswith(b"\n") else b"HTTP/1.1 200 OK\r\nX: "
    url = server.on("/a", Reply(raw=before, body=sent, endless=True, piece=99, pause=0.05))
    settings = replace(QUICK, speed_seconds=5, answer_seconds=0.5)
    async with HttpClient(settings, sleep=Pauses()) as client:
        with pytest.raises(TransientError, match="timed out after"):
            await client.get_small(url, cap=100)
    assert len(server.requests) == 2


async def test_a_small_answer_is_not_waited_for_as_long_as_its_size_allows(server: Server) -> None:
    url = server.on("/a", Reply(body=bytes(100_000), piece=100, pause=0.02))
    settings = replace(QUICK, least_bytes_per_second=1, answer_seconds=0.5)
    async with HttpClient(settings, sleep=Pauses()) as client:
        with pytest.raises(TransientError, match="timed out after"):
            await client.get_small(url, cap=200_000)
    assert len(server.requests) == 2


async def test_a_drip_is_given_up(quick_client: HttpClient, server: Server) -> None:
    url = server.on("/a", Reply(body=BODY, piece=100, pause=0.05))
    with pytest.raises(TransientError, match="too slow"):
        await read(quick_client, url)


@pytest.mark.parametrize("begun", [b"5;", b"5\r\nhello\r\n5;", b"0"], ids=["at-once", "later", "0"])
async def test_what_is_none_of_the_body_is_not_waited_for(
    quick_client: HttpClient, server: Server, begun: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    url = server.on("/a", Reply(raw=head + begun, body=b"0" * 99, endless=True, pause=0.05))
    both = (quick_client.get_small(url, cap=100), read(quick_client, url))
    for error in await asyncio.gather(*both, return_exceptions=True):
        assert isinstance(error, TransientError)
        assert re.search(r"too slow|timed out|hex-length", str(error))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 2",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
async def test_a_server_that_speaks_no_http_is_an_error_of_ours(
    client: HttpClient, server: Server, raw: bytes
) -> None:
    url = server.on("/a", Reply(raw=raw))
    with pytest.raises(TransientError):
        await client.get_small(url, cap=100)
    with pytest.raises(TransientError):
        await read(client, url)


async def test_nobody_listening_is_an_error_of_ours(client: HttpClient) -> None:
    with pytest.raises(TransientError, match=r"http://127\.0\.0\.1:1/a"):
        await client.get_small("http://127.0.0.1:1/a", cap=100)


@pytest.mark.parametrize("url", ["ftp://h/a", "http://", "/a"])
async def test_an_unusable_url_is_not_available(client: HttpClient, url: str) -> None:
    with pytest.raises(NotAvailableError):
        await client.get_small(url, cap=100)


async def test_redirects_are_followed(client: HttpClient, server: Server) -> None:
    server.on("/b", Reply(body=b"there"))
    url = server.on("/a", Reply(status=302, headers={"Location": "/b"}))
    assert await client.get_small(url, cap=100) == b"there"


async def test_an_unwanted_answer_in_drips_is_not_waited_for(
    client: HttpClient, server: Server
) -> None:
    url = server.on("/absent", Reply(status=404, body=bytes(100), piece=1, pause=3600))
    with pytest.raises(MissingError):
        await client.get_small(url, cap=9)


async def test_nor_is_a_redirect_that_does_not_end(server: Server) -> None:
    url = server.on(
        "/a",
        Reply(status=302, headers={"Location": "/b"}, body=bytes(9999), length=False, endless=True),
    )
    async with HttpClient(replace(PATIENT, attempts=1)) as client:
        with pytest.raises(TransientError, match="a body without end"):
            await client.get_small(url, cap=9)


async def test_cookies_are_not_kept(client: HttpClient, server: Server) -> None:
    url = server.on(
        "/a", Reply(body=b"1", headers={"Set-Cookie": "track=1; Path=/"}), Reply(body=b"2")
    )
    assert await client.get_small(url, cap=9) == b"1"
    assert await client.get_small(url, cap=9) == b"2"
    assert [request.headers.get("cookie") for request in server.requests] == [None, None]


async def test_a_circle_of_redirects_ends(client: HttpClient, server: Server) -> None:
    url = server.on("/a", Reply(status=301, headers={"Location": "/a"}))
    with pytest.raises(NotAvailableError, match="redirects"):
        await client.get_small(url, cap=100)
    assert len(server.requests) == client.settings.redirects + 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://h/a", "gopher://h/"])
async def test_a_redirect_to_another_scheme_is_refused(
    client: HttpClient, server: Server, target: str
) -> None:
    url = server.on("/a", Reply(status=302, headers={"Location": target}))
    with pytest.raises(NotAvailableError, match="redirected to"):
        await read(client, url)


async def test_an_encoding_nobody_asked_for_is_undone(client: HttpClient, server: Server) -> None:
    packed = gzip.compress(BODY)
    url = server.on("/a", Reply(body=packed, headers={"Content-Encoding": "gzip"}))
    assert await read(client, url, len(BODY)) == BODY
    async with client.stream(url, keep_encoding=True) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == packed


@pytest.mark.parametrize("encoding", ["rot13", "gzip, br", "br"])
async def test_an_encoding_that_cannot_be_undone_is_refused(
    client: HttpClient, server: Server, encoding: str
) -> None:
    url = server.on("/a", Reply(body=b"hello", headers={"Content-Encoding": encoding}))
    with pytest.raises(IntegrityError, match="Content-Encoding"):
        await read(client, url)
    with pytest.raises(IntegrityError, match="Content-Encoding"):
        await client.get_small(url, cap=100)


async def test_an_encoded_bomb_is_capped(client: HttpClient, server: Server) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    url = server.on("/a", Reply(body=bomb, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(IntegrityError, match="larger than"):
        await client.get_small(url, cap=100_000)


async def test_credentials_come_from_the_netrc_file_and_go_to_its_host_only(
    server: Server, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    server.on("/b", Reply(body=b"x"))
    other = server.url.replace("127.0.0.1", "localhost") + "/b"
    url = server.on("/a", Reply(status=302, headers={"Location": other}))
    async with HttpClient(HttpSettings(netrc=netrc)) as client:
        await client.get_small(url, cap=100)
    assert server.requests[0].headers["authorization"] == "Basic bWU6c2VjcmV0"
    assert "authorization" not in server.requests[1].headers


def test_a_netrc_that_is_no_file_is_a_bad_request(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    os.mkfifo(netrc)
    with pytest.raises(RequestError, match="netrc"):
        HttpClient(HttpSettings(netrc=netrc))


async def test_the_proxy_of_the_environment_is_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    server.on("http://cache.invalid/a", Reply(body=b"through the proxy"))
    async with HttpClient(PATIENT) as client:
        assert await client.get_small("http://cache.invalid/a", cap=100) == b"through the proxy"


async def test_the_proxy_of_one_host_is_not_that_of_another(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "cache.invalid")
    # The one URL has no path: it begins as the other host's URLs do.
    for url in ("http://cache.invalids", "http://cache.invalids/", "http://cache.invalid/a"):
        server.on(url, Reply(body=b"through the proxy"))
    async with HttpClient(PATIENT) as client:
        assert await client.get_small("http://cache.invalids", cap=100) == b"through the proxy"
        with pytest.raises(SourceError):
            await client.get_small("http://cache.invalid/a", cap=100)


@pytest.mark.parametrize("proxy", ["http://me:secret@[::1", "http://a\x1b[31m/", "ftp://proxy/"])
async def test_a_proxy_that_is_none_is_named(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(NotAvailableError, match="the proxy of the environment") as caught:
        await client.get_small("http://cache.invalid/a", cap=100)
    assert "http_proxy" in str(caught.value.hint)
    assert "secret" not in caught.value.message


async def test_a_host_is_asked_so_many_things_at_once_and_no_more(server: Server) -> None:
    server.on("/a", Reply(body=bytes(1000), piece=500, pause=0.02))
    async with HttpClient(HttpSettings(connections_per_host=3)) as client:
        await asyncio.gather(*(client.get_small(server.url + "/a", cap=2000) for _ in range(12)))
    assert server.most_at_once == 3


async def test_one_rate_holds_for_all_downloads_together(server: Server) -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    limiter = RateLimiter(1_000_000, clock=lambda: now, sleep=sleep)
    url = server.on("/a", Reply(body=BODY))
    async with HttpClient(PATIENT, limiter=limiter) as client:
        await read(client, url)
        await read(client, url)
    assert now == pytest.approx(2 * len(BODY) / 1_000_000, rel=0.1)


async def test_files_are_read_like_urls(client: HttpClient, tmp_path: Path) -> None:
    file = tmp_path / "a b"
    file.write_bytes(BODY)
    url = file.as_uri()
    assert hashlib.sha256(await read(client, url, len(BODY))).digest() == (
        hashlib.sha256(BODY).digest()
    )
    with pytest.raises(IntegrityError):
        await read(client, url, 5)
    with pytest.raises(IntegrityError):
        await client.get_small(url, cap=5)
    with pytest.raises(MissingError):
        await client.get_small(url + "x", cap=5)
    with pytest.raises((MissingError, TransientError)):
        await client.get_small(tmp_path.as_uri(), cap=5)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MissingError, match="not a regular file"):
        await read(client, (tmp_path / "pipe").as_uri())


async def test_a_connection_is_used_again_after_answers_that_are_not_wanted(
    client: HttpClient, server: Server
) -> None:
    server.on("/b", Reply(body=b"x"))
    moved = server.on("/moved", Reply(status=302, headers={"Location": "/b"}, body=b"gone" * 100))
    missing = server.on("/missing", Reply(status=404, body=b"no" * 1000, piece=500, pause=0.01))
    for _ in range(5):
        await client.get_small(moved, cap=100)
        with pytest.raises(MissingError):
            await client.get_small(missing, cap=100)
    assert server.connections == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    client: HttpClient, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    await asyncio.to_thread(
        subprocess.run,
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with Server(tls=tls) as server:
        with pytest.raises(NotAvailableError, match="certificate is not valid") as caught:
            await client.get_small(server.url + "/a", cap=100)
        assert caught.value.hint is not None
        with pytest.raises(NotAvailableError, match="certificate is not valid"):
            await read(client, server.url + "/a")


def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIX_SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")
    with pytest.raises(ToolError) as raised:
        HttpClient(HttpSettings())
    assert "SSL_CERT_FILE" in (raised.value.hint or "")


async def test_leaving_a_stream_early_leaves_the_client_usable(
    client: HttpClient, server: Server
) -> None:
    url = server.on("/a", Reply(body=BODY))
    for _ in range(20):
        async with client.stream(url) as chunks:
            await anext(chunks)
    assert await read(client, url) == BODY


async def test_a_source_may_be_at_an_ftp_server(client: HttpClient) -> None:
    with ftp_server({"/pub/a": BODY, "/empty": b""}) as url:
        assert await read(client, f"{url}/pub/a", len(BODY)) == BODY
        assert await read(client, f"{url}/empty") == b""
        with pytest.raises(MissingError):
            await read(client, f"{url}/pub/b")
        with pytest.raises(NotAvailableError, match="not a URL that can be asked for"):
            await client.get_small(f"{url}/pub/a", cap=10)


async def test_nobody_is_led_to_one(client: HttpClient, server: Server) -> None:
    with ftp_server({"/a": BODY}) as ftp:
        url = server.on("/a", Reply(status=302, headers={"Location": f"{ftp}/a"}))
        with pytest.raises(NotAvailableError, match="not followed"):
            await read(client, url)
