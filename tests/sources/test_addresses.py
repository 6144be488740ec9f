"""Redirects from the open internet, for which one loopback address stands in, into a network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.patience import PATIENT
from rig.servers import Reply, Server

from mirror.errors import NotAvailableError
from mirror.sources.addresses import is_public
from mirror.sources.http.client import HttpClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PUBLIC = "127.0.0.1"
INSIDE = "127.0.0.2"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0"),
        *("fec0::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1"),
        *("64:ff9b::a00:1", "2002:7f00:1::", "2002:c0a8:101::1"),
        *("", "localhost", "2130706433", "0x7f.1", "127.1", "1.1.1.1."),
    ],
)
def test_what_is_not_of_the_open_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "151.101.2.217",
        "172.32.0.1",
        "2a04:4e42::729",
        "64:ff9b::101:101",
        "::ffff:1.1.1.1",
    ],
)
def test_what_is_of_the_open_internet(address: str) -> None:
    assert is_public(address)


@pytest.fixture
async def inside() -> AsyncIterator[Server]:
    async with Server(address=INSIDE) as server:
        server.on("/admin", Reply(body=b"secret"))
        yield server


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    settings = replace(PATIENT, is_public=lambda address: address == PUBLIC)
    async with HttpClient(settings) as client:
        yield client


async def read(client: HttpClient, url: str) -> bytes:
    async with client.stream(url) as chunks:
        return b"".join([chunk async for chunk in chunks])


def moved(to: str) -> Reply:
    return Reply(status=302, headers={"Location": to})


async def test_a_public_server_does_not_lead_inside(
    client: HttpClient, server: Server, inside: Server
) -> None:
    url = server.on("/a", moved(f"{inside.url}/admin"))
    for asked in (client.get_small(url, cap=100), read(client, url), client.head(url)):
        with pytest.raises(NotAvailableError, match=r"private network") as caught:
            await asked
        assert url in caught.value.message
        assert f"{inside.url}/admin" in caught.value.message
    assert not inside.connections


@pytest.mark.parametrize("form", ["2130706434", "0x7f000002", "127.2", "[::ffff:7f00:2]"])
async def test_however_the_address_is_written(
    client: HttpClient, server: Server, inside: Server, form: str
) -> None:
    url = server.on("/a", moved(f"{inside.url}/admin".replace(INSIDE, form)))
    with pytest.raises(NotAvailableError):
        await client.get_small(url, cap=100)
    assert not inside.connections


async def test_nor_by_way_of_another_public_address(
    client: HttpClient, server: Server, inside: Server
) -> None:
    url = server.on("/a", moved("/b"))
    server.on("/b", moved(f"{inside.url}/admin"))
    with pytest.raises(NotAvailableError, match="private network"):
        await client.get_small(url, cap=100)
    assert not inside.connections


async def test_a_name_that_means_an_address_inside_leads_nowhere(
    server: Server, inside: Server
) -> None:
    settings = replace(PATIENT, is_public=lambda address: address == INSIDE)
    url = inside.on("/a", moved(f"{server.url}/b".replace(PUBLIC, "localhost")))
    server.on("/b", Reply(body=b"secret"))
    async with HttpClient(settings) as client:
        with pytest.raises(NotAvailableError, match="private network"):
            await client.get_small(url, cap=100)
    assert not server.connections


async def test_a_connection_that_is_open_already_is_not_used_for_it(
    client: HttpClient, server: Server, inside: Server
) -> None:
    assert await client.get_small(f"{inside.url}/admin", cap=100) == b"secret"
    url = server.on("/a", moved(f"{inside.url}/admin"))
    with pytest.raises(NotAvailableError, match="private network"):
        await client.get_small(url, cap=100)
    assert len(inside.requests) == 1


async def test_a_public_server_may_lead_to_public_ones(client: HttpClient, server: Server) -> None:
    async with Server() as other:
        url = server.on("/a", moved(other.on("/b", Reply(body=b"there"))))
        assert await client.get_small(url, cap=100) == b"there"


async def test_a_server_inside_may_lead_anywhere(
    client: HttpClient, server: Server, inside: Server
) -> None:
    out = inside.on("/out", moved(server.on("/b", Reply(body=b"outside"))))
    within = inside.on("/within", moved("/admin"))
    assert await client.get_small(out, cap=100) == b"outside"
    assert await client.get_small(within, cap=100) == b"secret"
