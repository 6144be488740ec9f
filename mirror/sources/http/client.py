"""The one HTTP client: httpx's interface over libcurl.

It promises its callers, whatever the server does: an answer, or an error of
:class:`mirror.errors.SourceError`, within bounded time and memory. It asks again after what may
pass (with growing pauses, or the pause that the server asks for), goes on where a download was cut,
keeps to the rate limit, and never hands on an encoding that was not asked for. The rest is
:mod:`mirror.curl`'s. Whether the bytes are the right ones is for the verifier to say. ``file://``
URLs are read too, so that a cache may be a directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Self, cast

import httpx

from mirror.curl.failure import CurlError
from mirror.curl.transport import CurlTransport, host_of
from mirror.errors import IntegrityError, NotAvailableError, TransientError
from mirror.sources.decoding import decoded
from mirror.sources.http.body import Body, Connection, content_length, is_part
from mirror.sources.http.explained import of_status, translate
from mirror.sources.http.settings import HttpSettings
from mirror.sources.local_files import file_chunks, file_size
from mirror.sources.netrc import readable_netrc
from mirror.sources.pace import RateLimiter
from mirror.sources.server_errors import ChangedError, TimedOutError
from mirror.trust import certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from types import TracebackType

_USER_AGENT: Final = "prefetch/{} (+https://pypi.org/project/prefetch/)"
"""Who asks, and where to read about it, as some servers want to know."""
_NO_BODY: Final = httpx.ByteStream(b"")
_TIMES_SILENT: Final = 2
"""How often a server may be silent: each time costs much, and there may be another source."""
_DRAINED, _DRAIN_SECONDS = 1 << 16, 1.0
"""So much of an unwanted answer is read, in bytes and at most, to use the connection again."""


class HttpClient:
    """The client; an async context manager that holds the connections of a run.

    Time and chance come in as ``sleep``, ``jitter`` (a number from 0 to 1) and ``now``.

    Raises:
        RequestError: the netrc file is none.
        ToolError: the certificates cannot be read.

    """

    def __init__(
        self,
        settings: HttpSettings | None = None,
        *,
        limiter: RateLimiter | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        settings = settings or HttpSettings()
        trusted = settings.certificates or certificates()
        self.settings = replace(settings, certificates=trusted)
        self._limiter = limiter or RateLimiter()
        self._sleep = sleep
        self._jitter = jitter
        self._now = now
        self._transport = CurlTransport(
            replace(
                self.settings,
                netrc=readable_netrc(self.settings.netrc),
                least_bytes_per_second=self._limiter.least(self.settings.least_bytes_per_second),
            )
        )
        cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))  # none, for ever
        self._client = httpx.AsyncClient(
            transport=self._transport, cookies=cookies, trust_env=False
        )
        self._headers = httpx.Headers(
            {
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "User-Agent": _USER_AGENT.format(version("prefetch")),
            }
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def get_small(self, url: str, *, cap: int) -> bytes:
        """The whole body of a small answer, of at most ``cap`` bytes once decoded.

        Raises:
            MissingError: the server says that there is no such thing (404, 403, 410).
            NotAvailableError: it cannot be asked, or refuses.
            TransientError: it failed as often as it was asked.
            IntegrityError: the body is larger than ``cap``, or in an unknown encoding.

        """
        failures = 0
        while True:
            try:
                return await self._get_small_once(url, cap)
            except TransientError as error:
                failures += 1
                await self._pause(failures, error)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        expected_size: int | None = None,
        cap: int | None = None,
        keep_encoding: bool = False,
        any_certificate: bool = False,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body in chunks of about 1 MiB; after a cut, the rest is requested.

        ``expected_size`` (bytes) is known beforehand, ``cap`` is the most that is read.
        ``keep_encoding`` leaves a Content-Encoding as it came, as curl does, for files that a
        server merely labels so. ``any_certificate`` believes whoever answers, and sends no
        password: for what is known by its hash.

        Raises:
            MissingError: the server says that there is no such thing (404, 403, 410).
            NotAvailableError: it cannot be asked, or refuses.
            TransientError: it failed as often as it was asked; also while reading.
            IntegrityError: the body is not of the expected size; while reading.

        """
        if url.startswith("file:"):
            async with file_chunks(url, expected_size=expected_size) as chunks:
                yield chunks
            return
        connection = Connection(
            ask=lambda headers: self.answer(url, headers, any_certificate=any_certificate),
            pause=self._pause,
            limiter=self._limiter,
        )
        async with Body(connection, url, expected_size=expected_size, cap=cap) as body:
            if keep_encoding or not body.encodings:
                yield body
            else:
                yield decoded(body, body.encodings, url, cap=cap)

    async def head(self, url: str) -> int | None:
        """The size in bytes of what is there, None where it is not told; asked once.

        Raises:
            GoneError: there is nothing.
            SourceError: no answer, or one that does not say whether there is something.

        """
        if url.startswith("file:"):
            return await file_size(url)
        answer = await self.answer(url, method="HEAD")
        await answer.aclose()
        return None if "content-encoding" in answer.headers else content_length(answer)

    async def _pause(self, failures: int, error: TransientError) -> None:
        """Wait before another attempt, after ``failures`` of them; raises ``error`` at the last."""
        patience = _TIMES_SILENT if isinstance(error, TimedOutError) else self.settings.attempts
        if failures >= min(patience, self.settings.attempts):
            raise error
        asked = error.retry_after
        if asked is not None and asked > self.settings.longest_retry_after:
            raise TransientError(
                f"{error.message}; it asks to wait {asked:.0f} s, longer than "
                f"the {self.settings.longest_retry_after:.0f} s that a run waits",
                hint="run again later",
                retry_after=asked,
            ) from error
        pause = min(self.settings.longest_pause, self.settings.first_pause * 2 ** (failures - 1))
        # Half of the pause is left to chance, so that many workers do not come back at once.
        pause *= (1 + self._jitter()) / 2
        await self._sleep(max(pause, asked or 0.0))

    async def answer(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        any_certificate: bool = False,
    ) -> httpx.Response:
        """An answer of success, redirects followed, its body not read yet; who asked closes it.

        Raises:
            SourceError: any other answer, or none.

        """
        request = self._request(
            method, url, headers or {}, any_certificate=any_certificate, ftp=True
        )
        try:
            answer = await self._client.send(request, stream=True)
        except CurlError as error:
            raise translate(error, url) from error
        await self._see_success(answer, url, partial="Range" in request.headers)
        return answer

    def _request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, **extensions: object
    ) -> httpx.Request:
        host = host_of(url)
        try:
            origin, ascii_host = _origin(host)
        except httpx.InvalidURL as error:
            raise NotAvailableError(f"{url}: not a URL that can be asked for: {error}") from error
        extensions["url"] = ascii_host + url[len(host) :]
        everything = self._headers
        if headers:
            everything = httpx.Headers({**everything, **headers})
        # With a body of its own, an empty one, httpx makes no header of it.
        return httpx.Request(
            method, origin, headers=everything, stream=_NO_BODY, extensions=extensions
        )

    async def _see_success(self, answer: httpx.Response, url: str, *, partial: bool) -> None:
        """Raise the error for an unsuccessful answer, and close it."""
        if answer.is_success and (partial or not is_part(answer)):
            return
        try:
            await _drain(answer)
            if partial and answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise ChangedError(f"{url}: the server has no more of it")
            if answer.is_success:
                raise NotAvailableError(f"{url}: the server sent a part that was not requested")
            raise of_status(answer, url, self._now)
        finally:
            await answer.aclose()

    async def _get_small_once(self, url: str, cap: int) -> bytes:
        if url.startswith("file:"):
            async with file_chunks(url) as chunks:
                return await _collected(chunks, url, cap)
        request = self._request("GET", url, seconds=self.settings.answer_seconds)
        try:
            # A plan asks for thousands: httpx's client takes as long for each as all the rest.
            answer = await self._transport.handle_async_request(request)
            await self._see_success(answer, url, partial=False)
            try:
                # As httpx would, but for what it counts meanwhile.
                chunks = aiter(cast("httpx.AsyncByteStream", answer.stream))
                if encodings := answer.extensions["encodings"]:
                    chunks = decoded(chunks, encodings, url, cap=cap)
                return await _collected(chunks, url, cap)
            finally:
                await answer.aclose()
        except CurlError as error:
            raise translate(error, url) from error


@lru_cache(maxsize=256)
def _origin(host: str) -> tuple[httpx.URL, str]:
    """The host's URL without user and password, and with them, but a name in ASCII."""
    named = httpx.URL(host)
    scheme, _, rest = host.partition("://")
    user, at, name = rest.rpartition("@")
    if not name.isascii():
        name = named.netloc.decode()
    return named.copy_with(userinfo=b""), f"{scheme}://{user}{at}{name}"


async def _collected(chunks: AsyncIterator[bytes], url: str, cap: int) -> bytes:
    collected = bytearray()
    async for chunk in chunks:
        collected += chunk
        if len(collected) > cap:
            raise IntegrityError(f"{url}: larger than the {cap} bytes it may have")
    return bytes(collected)


async def _drain(answer: httpx.Response) -> None:
    """Read the rest of a short answer: a connection with an unread one cannot be used again."""
    if (content_length(answer) or 0) > _DRAINED:
        return
    size = 0
    with contextlib.suppress(CurlError, TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for piece in answer.aiter_raw():
                size += len(piece)
                if size > _DRAINED:
                    return
