"""Whether upstream still has a file: certain answers count, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.servers import Reply, Server

from mirror.errors import NotAvailableError
from mirror.formats import nar
from mirror.sources.http.client import HttpClient
from mirror.sources.http.settings import HttpSettings
from mirror.sources.inquiry import ask_urls
from mirror.sources.server_errors import GoneError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CONTENT = b"what is published" * 100
SIZE = nar.serialized_size(nar.Regular.of(CONTENT))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as started:
        yield started


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    settings = HttpSettings(connect_seconds=2)
    async with HttpClient(settings) as opened:
        yield opened


def head(size: int, **headers: str) -> Reply:
    """An answer without a body, as HEAD has none."""
    return Reply(length=False, headers={"Content-Length": str(size), **headers})


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (head(len(CONTENT)), "there"),
        (head(len(CONTENT) + 8), "gone"),
        (head(0), "there"),
        (head(17, **{"Content-Encoding": "gzip"}), "there"),
        (Reply(status=404), "gone"),
        (Reply(status=410), "gone"),
        (Reply(status=403), "unknown"),
        (Reply(status=405), "unknown"),
        (Reply(status=503), "unknown"),
        (Reply(raw=b""), "unknown"),
    ],
    ids=[
        *("the same size", "another size", "no size", "an encoding", "404", "410", "403", "405"),
        *("503", "no answer"),
    ],
)
async def test_what_a_server_says(
    server: Server, client: HttpClient, reply: Reply, state: str
) -> None:
    url = server.on("/file", reply)
    found = await ask_urls(client, [url], nar_size=SIZE)
    assert found.state == state
    assert (url in found.reason) == (state == "gone")
    if reply.raw is None:  # the library itself asks again over another connection
        assert len(server.asked("/file")) == 1


async def test_silence_says_nothing(server: Server, quick_client: HttpClient) -> None:
    url = server.on("/file", Reply(hang_first=True))
    found = await ask_urls(quick_client, [url], nar_size=SIZE)
    assert found.state == "unknown"
    assert len(server.asked("/file")) == 1


async def test_one_place_that_has_it_is_enough_and_one_that_may_have_it_is_too(
    server: Server, client: HttpClient
) -> None:
    gone, there = server.on("/gone", Reply(status=404)), server.on("/there", head(len(CONTENT)))
    silent = "http://127.0.0.1:9/file"
    assert (await ask_urls(client, [gone, silent, there], nar_size=SIZE)).state == "there"
    assert (await ask_urls(client, [gone, silent], nar_size=SIZE)).state == "unknown"
    assert (await ask_urls(client, [], nar_size=SIZE)).state == "unknown"
    other = server.on("/other", head(5))
    found = await ask_urls(client, [gone, other], nar_size=SIZE)
    assert found.state == "gone"
    assert "404" in found.reason
    assert "another file now, of 5 bytes" in found.reason
    assert (await ask_urls(client, [other], nar_size=None)).state == "there"


async def test_redirects_are_followed_with_head(server: Server, client: HttpClient) -> None:
    target = server.on("/moved", head(len(CONTENT)))
    url = server.on("/file", Reply(status=302, headers={"Location": target}))
    assert await client.head(url) == len(CONTENT)


async def test_files_of_this_machine(client: HttpClient, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    assert await client.head(f"file://{file}") == len(CONTENT)
    assert (await ask_urls(client, [f"file://{file}"], nar_size=SIZE)).state == "there"
    file.unlink()
    with pytest.raises(GoneError):
        await client.head(f"file://{file}")
    with pytest.raises(NotAvailableError):
        await client.head(f"file://{__file__}/below")
