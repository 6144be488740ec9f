"""httpx's client over aiohttp's connections, and requests that go to these at once.

The client decides, as httpx does, which proxy a request goes through and whose certificates count.
A request itself goes to aiohttp: a plan asks for thousands of small files, and to wrap each of them
in httpx's requests and responses takes longer than all the rest.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp.connector import Connection

_SCHEMES: Final = ("http://", "https://")
_BUFFERED: Final = 1 << 18
"""At which size, in bytes, no more is read for now; a broken connection loses twice as much."""


class Answer:
    """A server's answer; its body is not read yet. Whoever is done with it closes it."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        """In any case of letters."""
        self._response = response

    def pieces(self) -> AsyncIterator[bytes]:
        """The body, as it was sent, in pieces of at most 256 KiB."""
        return self._response.content.iter_chunked(_BUFFERED)

    def close(self) -> None:
        """Give the connection back, or up if something of the body is unread."""
        self._response.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """How connections are made, and how long is waited for what comes over them.

    ``patience`` is for a connection and for each read; the head of an answer, and whatever interim
    answers come before it, may take ``answer_seconds``. ``sockets`` makes the sockets of
    connections that go through no proxy.
    """

    patience: aiohttp.ClientTimeout
    answer_seconds: float
    sockets: aiohttp.SocketFactoryType | None = None


class _Transport(AiohttpTransport):
    """The transport with larger reads, a limit per host, and no cookies."""

    def __init__(self, connecting: Connecting, **settings: Any) -> None:
        super().__init__(**settings)
        self._connecting = connecting

    def get_client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self.ssl_context,
            limit=0,
            limit_per_host=self.limits.max_connections or 0,
            socket_factory=self._connecting.sockets,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_BUFFERED,
            timeout=self._connecting.patience,
            response_class=_in_time(self._connecting.answer_seconds),
        )

    async def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """Ask once."""
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        proxy = self.proxy
        response = await self.client.request(
            method,
            url,
            headers=headers,
            allow_redirects=False,
            auto_decompress=False,
            proxy=str(proxy.url) if proxy else None,
            proxy_auth=aiohttp.BasicAuth(*proxy.auth) if proxy and proxy.auth else None,
            proxy_headers=proxy.headers if proxy else None,
        )
        return Answer(response)


def _in_time(seconds: float) -> type[aiohttp.ClientResponse]:
    """A response whose head has to be there in time: else one byte now and then keeps it open."""

    class Response(aiohttp.ClientResponse):
        async def start(self, connection: Connection) -> aiohttp.ClientResponse:
            try:
                async with asyncio.timeout(seconds):
                    return await super().start(connection)
            except TimeoutError as error:
                if isinstance(error, aiohttp.ServerTimeoutError):
                    raise
                raise aiohttp.ServerTimeoutError(
                    f"no whole answer within {seconds:g} seconds"
                ) from error

    return Response


class TransportClient(HttpxAiohttpClient):
    """httpx's client with :class:`_Transport`, also for the proxies of the environment."""

    def __init__(self, connecting: Connecting, **settings: Any) -> None:
        self._connecting = connecting
        self._transports: dict[str, _Transport] = {}
        """By what an URL begins with: to read one takes httpx longer than to ask for it."""
        super().__init__(**settings)

    async def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """Ask once; redirects are not followed.

        Raises:
            Exception: one of :data:`mirror.sources.http.errors.FOREIGN`.

        """
        end = url.find("/", len("https://"))
        host = url if end < 0 else url[:end]
        transport = self._transports.get(host)
        if transport is None:
            parsed = httpx.URL(url)
            if not url.startswith(_SCHEMES) or not parsed.host:
                raise httpx.UnsupportedProtocol("only http and https URLs can be asked for")
            found = self._transport_for_url(parsed)
            assert isinstance(found, _Transport), "no other kind is made below"
            transport = self._transports[host] = found
        return await transport.ask(method, url, headers)

    # mypy: whatever httpx passes here goes on to the transport as it is.
    def _init_transport(self, **settings: Any) -> httpx.AsyncBaseTransport:  # type: ignore[override]
        settings.pop("transport", None)
        return _Transport(self._connecting, **settings)

    def _init_proxy_transport(  # type: ignore[override] # as above
        self, proxy: httpx.Proxy, **settings: Any
    ) -> httpx.AsyncBaseTransport:
        return _Transport(replace(self._connecting, sockets=None), proxy=proxy, **settings)
