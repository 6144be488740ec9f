"""httpx's client over aiohttp's connections, with what the transport between them leaves out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import httpx
from httpx_aiohttp import HttpxAiohttpClient
from httpx_aiohttp.transport import AiohttpResponseStream, AiohttpTransport

from mirror.sources.chunks import CHUNK_SIZE

if TYPE_CHECKING:
    from aiohttp.connector import Connection


class _Transport(AiohttpTransport):
    """The transport with larger reads, a limit per host, and no cookies.

    ``sockets`` makes the sockets of its connections; the head of an answer, and whatever interim
    answers come before it, may take ``answer_seconds``.
    """

    def __init__(
        self,
        *,
        answer_seconds: float,
        sockets: aiohttp.SocketFactoryType | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._answer_seconds = answer_seconds
        self._sockets = sockets

    def get_client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self.ssl_context,
            limit=0,
            limit_per_host=self.limits.max_connections or 0,
            socket_factory=self._sockets,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=CHUNK_SIZE,
            response_class=_in_time(self._answer_seconds),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if isinstance(response.stream, AiohttpResponseStream):
            response.stream.CHUNK_SIZE = CHUNK_SIZE
        return response


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


class _NoCookies(httpx.Cookies):
    """Cookies that are never kept: to look for them takes as long as a small answer does."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Leave them in the response."""


_NO_COOKIES: Final = _NoCookies()


class TransportClient(HttpxAiohttpClient):
    """httpx's client with :class:`_Transport`, also for the proxies of the environment.

    ``answer_seconds`` is for the head of an answer; ``sockets`` makes the sockets of connections
    that go through no proxy.
    """

    def __init__(
        self,
        *,
        answer_seconds: float,
        sockets: aiohttp.SocketFactoryType | None = None,
        **settings: Any,
    ) -> None:
        self._answer_seconds = answer_seconds
        self._sockets = sockets
        super().__init__(**settings)

    @property  # type: ignore[misc] # it cannot be set
    def cookies(self) -> httpx.Cookies:
        """None are kept or sent."""
        return _NO_COOKIES

    # mypy: whatever httpx passes here goes on to the transport as it is.
    def _init_transport(self, **settings: Any) -> httpx.AsyncBaseTransport:  # type: ignore[override]
        settings.pop("transport", None)
        return _Transport(answer_seconds=self._answer_seconds, sockets=self._sockets, **settings)

    def _init_proxy_transport(  # type: ignore[override] # as above
        self, proxy: httpx.Proxy, **settings: Any
    ) -> httpx.AsyncBaseTransport:
        return _Transport(answer_seconds=self._answer_seconds, proxy=proxy, **settings)
