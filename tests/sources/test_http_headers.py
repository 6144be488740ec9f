"""Headers that no server should send: an error of the client's own, or passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.servers import Reply, Server

from mirror.errors import NotAvailableError

if TYPE_CHECKING:
    from rig.patience import Pauses

    from mirror.sources.http.client import HttpClient

BODY = bytes(range(256)) * 8
HUGE = "9" * 5000
"""More digits than Python reads as a number."""


@pytest.mark.parametrize("part", [f"bytes {HUGE}-2047/2048", f"bytes 1000-2047/{HUGE}"])
async def test_a_part_of_more_digits_than_can_be_read_was_not_asked_for(
    client: HttpClient, server: Server, part: str
) -> None:
    cut = Reply(body=BODY, cut_after=1000, etag='"a"')
    rest = Reply(status=206, body=BODY[1000:], headers={"Content-Range": part, "ETag": '"a"'})
    url = server.on("/a", cut, rest)
    with pytest.raises(NotAvailableError, match="a part that was not requested"):
        await client.get_small(url, cap=4096)


@pytest.mark.parametrize(
    "text",
    [
        "Tue, 24 Nov 2026 00:00:00 +9999999999999999",
        "Tue, 24 Nov 99999 00:00:00 GMT",
        "Tue, 01 Jan 0001 00:00:00 +2359",
        "soon",
        "",
    ],
)
async def test_a_retry_after_that_says_no_time_is_passed_over(
    client: HttpClient, server: Server, pauses: Pauses, text: str
) -> None:
    url = server.on("/a", Reply(status=503, headers={"Retry-After": text}), Reply(body=BODY))
    assert await client.get_small(url, cap=4096) == BODY
    assert pauses.seconds == [0.5]


async def test_a_validator_that_cannot_be_sent_back_is_none(
    client: HttpClient, server: Server
) -> None:
    cut = Reply(body=BODY, cut_after=1000, headers={"ETag": '"ä"', "Last-Modified": "gestern, ä"})
    url = server.on("/a", cut, Reply(body=BODY, ranges=False))
    async with client.stream(url) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == BODY
    assert "range" not in server.requests[1].headers


async def test_a_length_of_more_digits_than_can_be_read_is_none(
    client: HttpClient, server: Server
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n".encode()
    url = server.on("/a", Reply(raw=head + BODY))
    assert await client.get_small(url, cap=4096) == BODY
