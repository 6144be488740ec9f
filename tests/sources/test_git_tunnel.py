"""Where git goes from a server of the open internet, for which one loopback address stands in."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest
from rig.drawn_repositories import Bare
from rig.git_servers import GitDaemon, GitServers
from rig.servers import Reply

from mirror.errors import NotAvailableError, TransientError
from mirror.formats.nar import Directory, Node
from mirror.planning.fetchers.fixed_outputs import GitCheckout
from mirror.sources.git import checkout
from mirror.sources.git.tunnel import tunnel_for
from mirror.sources.http.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig.servers import Server

PUBLIC: Final = "127.0.0.1"
INSIDE: Final = "127.0.0.2"


def public(address: str) -> bool:
    return address == PUBLIC


class Places:
    """The same repositories at a public address and inside; ``outer`` has a submodule inside."""

    def __init__(self, outside: GitServers, inside: GitServers, directory: Path) -> None:
        self.outside = f"{outside.url}/all"
        self.inside = f"{inside.url}/all"
        self._directory = directory
        inner = Bare(directory / "inner.git")
        inner.commit("main", {b"file": (b"100644", b"x")})
        (self._commit,) = inner.end()
        self.add("outer", self.inside)
        self.add("good", self.outside)

    def add(self, name: str, base: str) -> None:
        """Add a repository whose submodule is at ``base``."""
        modules = f'[submodule "sub"]\npath = sub\nurl = {base}/inner.git\n'.encode()
        sub = (b"160000", self._commit.encode())
        made = Bare(self._directory / f"{name}.git")
        made.commit("main", {b".gitmodules": (b"100644", modules), b"sub": sub})
        made.end()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    directory = tmp_path / "repositories"
    with ExitStack() as stack:
        outside = stack.enter_context(GitServers(directory, address=PUBLIC))
        inside = stack.enter_context(GitServers(directory, address=INSIDE))
        yield Places(outside, inside, directory)


async def fetch(url: str, directory: Path) -> Node:
    directory.mkdir()
    origin = GitCheckout(url=url, revision="refs/heads/main", submodules=True)
    return await checkout(origin, directory, HttpSettings(is_public=public))


async def test_a_public_server_does_not_lead_inside_by_a_submodule(
    places: Places, tmp_path: Path
) -> None:
    with pytest.raises(NotAvailableError, match=r"into a private network: 127\.0\.0\.2$"):
        await fetch(f"{places.outside}/outer.git", tmp_path / "work")


async def test_a_public_server_does_not_lead_inside_by_a_redirect(
    places: Places, server: Server, tmp_path: Path
) -> None:
    for number, base in enumerate((places.inside, places.outside)):
        to = f"{base}/good.git/info/refs?service=git-upload-pack"
        server.on("/r.git/info/refs", Reply(status=302, headers={"Location": to}))
        fetching = fetch(f"{server.url}/r.git", tmp_path / f"work-{number}")
        if base == places.inside:
            with pytest.raises(NotAvailableError, match="not followed from the public internet"):
                await fetching
        else:
            assert isinstance(await fetching, Directory)


@pytest.mark.parametrize("base", ["outside", "inside"])
async def test_a_public_server_does_not_lead_inside_by_the_protocol_of_git(
    places: Places, tmp_path: Path, base: str
) -> None:
    with GitDaemon(tmp_path / "repositories", address=INSIDE if base == "inside" else PUBLIC) as it:
        places.add("git", it.url)
        fetching = fetch(f"{places.outside}/git.git", tmp_path / "work")
        if base == "inside":
            with pytest.raises(NotAvailableError, match=r"into a private network: 127\.0\.0\.2$"):
                await fetching
        else:
            assert isinstance(await fetching, Directory)
            assert isinstance(await fetch(f"{it.url}/good.git", tmp_path / "again"), Directory)


async def test_who_is_inside_may_lead_anywhere(places: Places, tmp_path: Path) -> None:
    for name in ("outer", "good"):
        found = await fetch(f"{places.inside}/{name}.git", tmp_path / name)
        assert isinstance(found, Directory)
        assert isinstance(found.entries[b"sub"], Directory)
        assert b"file" in found.entries[b"sub"].entries


async def test_a_server_that_does_not_answer_may_do_so_later(
    unused_tcp_port: int, tmp_path: Path
) -> None:
    with pytest.raises(TransientError, match=r"127\.0\.0\.1: Connect call failed"):
        await fetch(f"http://{PUBLIC}:{unused_tcp_port}/x.git", tmp_path / "work")


async def test_nobody_else_gets_through(places: Places) -> None:
    async with tunnel_for(places.outside, public) as tunnel:
        assert tunnel is not None
        reader, writer = await asyncio.open_connection(PUBLIC, urlsplit(tunnel.url).port)
        writer.write(b"\5\1\2" + b"\1\3git\5wrong")
        assert await reader.read() == b"\5\2\1\1"
        writer.close()
        await writer.wait_closed()


async def test_the_users_proxy_decides(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    async with tunnel_for(places.outside, public) as tunnel:
        assert tunnel is None
