"""A source whose hash is known, from a server that nobody vouches for: the last that is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.certificates import Authority
from rig.patience import PATIENT, Pauses
from rig.servers import Reply, Server

from mirror.errors import SourceError
from mirror.formats.content_address import fixed_output_path
from mirror.formats.hashes import Hash
from mirror.formats.store_path import StorePath
from mirror.planning.fetchers.fixed_outputs import Download, FixedOutput
from mirror.sources.http.client import HttpClient
from mirror.sources.origins.hashed_mirror import HashedMirrors
from mirror.sources.origins.origin import Origins
from mirror.sources.source import Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mirror.errors import Attempt
    from mirror.sources.source import Source

CONTENT = b"upstream's source\n" * 50
HASH = Hash.of(CONTENT)
NEVERTHELESS = "accepted nevertheless, since its hash is right"


@pytest.fixture
async def unknown(tmp_path: Path) -> AsyncIterator[Server]:
    """A server whose certificate nobody has."""
    authority = Authority.make(tmp_path / "certificates")
    async with Server(tls=authority.server_context) as server:
        yield server


@pytest.fixture
async def client(unknown: Server, tmp_path: Path) -> AsyncIterator[HttpClient]:
    """It ends before the server, which would wait for the end of its connections."""
    assert unknown.url
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    async with HttpClient(replace(PATIENT, netrc=netrc), sleep=Pauses()) as client:
        yield client


def wanted(*urls: str) -> Wanted:
    fixed = FixedOutput(
        path=fixed_output_path("source-1", hash=HASH, recursive=False),
        derivation=StorePath.from_base_name("d" * 32 + "-source-1.drv"),
        system="x86_64-linux",
        hash=HASH,
        mode="flat",
        origin=Download(urls=urls),
    )
    return Wanted(path=fixed.path, fixed_output=fixed)


async def attempts(source: Source, asked: Wanted) -> tuple[Attempt, ...]:
    """What was tried before the source had it."""
    async with source.open(asked) as nar:
        return nar.attempts


def origins(client: HttpClient, tmp_path: Path, _: Server) -> Source:
    return Origins(client, tmp_path / "scratch")


def hashed_mirrors(client: HttpClient, tmp_path: Path, server: Server) -> Source:
    return HashedMirrors([server.url], client, tmp_path / "scratch")


@pytest.mark.parametrize("make", [origins, hashed_mirrors])
async def test_it_is_taken_on_its_hash_without_a_password_and_the_report_says_so(
    client: HttpClient,
    unknown: Server,
    tmp_path: Path,
    make: Callable[[HttpClient, Path, Server], Source],
) -> None:
    url = unknown.on(f"/sha256/{HASH.base16}", Reply(body=CONTENT))
    (attempt,) = await attempts(make(client, tmp_path, unknown), wanted(url))
    assert "its certificate is not valid" in attempt.error
    assert attempt.error.endswith(NEVERTHELESS)
    (request,) = unknown.requests
    assert "authorization" not in request.headers


async def test_a_server_that_is_known_is_asked_before_it(
    client: HttpClient, unknown: Server, server: Server, tmp_path: Path
) -> None:
    urls = (unknown.on("/a", Reply(body=CONTENT)), server.on("/b", Reply(body=CONTENT)))
    (attempt,) = await attempts(origins(client, tmp_path, unknown), wanted(*urls))
    assert NEVERTHELESS not in attempt.error
    assert not unknown.requests
    assert len(server.requests) == 1


async def test_other_bytes_are_not_taken(
    client: HttpClient, unknown: Server, tmp_path: Path
) -> None:
    url = unknown.on("/a", Reply(body=b"something else"))
    with pytest.raises(SourceError, match="asked nevertheless, but"):
        await attempts(origins(client, tmp_path, unknown), wanted(url))


async def test_a_password_of_the_url_goes_to_nobody(
    client: HttpClient, unknown: Server, tmp_path: Path
) -> None:
    url = unknown.on("/a", Reply(body=CONTENT)).replace("https://", "https://me:secret@")
    with pytest.raises(SourceError, match="its certificate is not valid"):
        await attempts(origins(client, tmp_path, unknown), wanted(url))
    assert not unknown.requests
