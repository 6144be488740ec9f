"""The one HTTP client: httpx's interface over aiohttp's machinery.

It promises its callers, whatever the server does: an answer, or an error of
:class:`mirror.errors.SourceError`, within bounded time and memory. It asks again after what may
pass (with growing pauses, or the pause that the server asks for), goes on where a download was cut,
follows redirects only to http and https, and from the open internet to nowhere else
(:mod:`mirror.sources.http.addresses`), keeps to the user's proxies, netrc and rate limit, and
never hands on an encoding that was not asked for. Whether the bytes are the right ones is for the
verifier to say. ``file://`` URLs are read too, so that a cache may be a directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import netrc
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote, urlsplit

import aiohttp
import httpx

from mirror.errors import (
    IntegrityError,
    NotAvailableError,
    RequestError,
    ToolError,
    TransientError,
)
from mirror.plain_files import LARGEST_SECRET, see_plain_file
from mirror.sources.http.addresses import is_outside, is_public, sockets_to
from mirror.sources.http.body import Body, content_length
from mirror.sources.http.decoding import decoded
from mirror.sources.http.errors import (
    FOREIGN,
    GoneError,
    MissingError,
    TimedOutError,
    of_status,
    translate,
)
from mirror.sources.http.files import file_chunks
from mirror.sources.http.pace import RateLimiter
from mirror.sources.http.transport import Answer, Connecting, TransportClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from types import TracebackType

    from aiohttp import SocketFactoryType

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SCHEMES: Final = frozenset({"http", "https"})
_TIMES_SILENT: Final = 2
"""How often a server may be silent: each time costs much, and there may be another source."""
_DRAINED: Final = 1 << 16
"""So much of an answer that is not wanted is read, in bytes, to use the connection again."""
_DRAIN_SECONDS: Final = 1.0
"""And for so long: whoever sends it in drips gets a new connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """How patient and how greedy the client is.

    ``connections_per_host`` are open at once; ``connect_seconds`` and ``silence_seconds`` bound the
    wait for a connection and for the next byte, ``answer_seconds`` that for the whole head of an
    answer, and for the body of a small one; a download slower than ``least_bytes_per_second`` over
    ``speed_seconds`` is given up. A request is made ``attempts`` times, with pauses that double
    from ``first_pause`` to ``longest_pause`` seconds; a server that asks for more than
    ``longest_retry_after`` has failed. ``netrc`` is a file of credentials. ``is_public`` says which
    IP addresses are of the open internet.
    """

    connections_per_host: int = 16
    connect_seconds: float = 10
    silence_seconds: float = 20
    answer_seconds: float = 60
    least_bytes_per_second: float = 1000
    speed_seconds: float = 30
    redirects: int = 10
    attempts: int = 5
    first_pause: float = 0.5
    longest_pause: float = 30
    longest_retry_after: float = 120
    netrc: Path | None = None
    user_agent: str = "prefetch"
    is_public: Callable[[str], bool] = is_public


class HttpClient:
    """The client; an async context manager that holds the connections of a run.

    Time and chance come in as ``sleep``, ``jitter`` (a number from 0 to 1) and ``now``.

    Raises:
        RequestError: the netrc file cannot be read.

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
        self.settings = settings or HttpSettings()
        self.limiter = limiter or RateLimiter()
        self._sleep = sleep
        self._jitter = jitter
        self._now = now
        self._netrc = _read_netrc(self.settings.netrc)
        self._client = self._transport_client()
        self._outside: TransportClient | None = None
        """For what the open internet redirects to; made when it first does."""
        self._headers = {
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": self.settings.user_agent,
        }

    def _transport_client(self, sockets: SocketFactoryType | None = None) -> TransportClient:
        settings = self.settings
        try:
            return TransportClient(
                Connecting(
                    # `connect` stays open: waiting for a turn at a busy host is no failure.
                    patience=aiohttp.ClientTimeout(
                        total=None,
                        sock_connect=settings.connect_seconds,
                        sock_read=settings.silence_seconds,
                    ),
                    answer_seconds=settings.answer_seconds,
                    sockets=sockets,
                ),
                limits=httpx.Limits(max_connections=settings.connections_per_host),
            )
        except (httpx.InvalidURL, ValueError) as error:
            # Their own words may have a part of its password.
            raise RequestError(
                "the proxy of the environment cannot be used: it has to be http://HOST:PORT",
                hint="see what the variables http_proxy, https_proxy, all_proxy and no_proxy have",
            ) from error
        except OSError as error:  # what SSL errors are, too
            raise ToolError(
                f"the certificates of this machine cannot be read: {error}",
                hint="see what the variables SSL_CERT_FILE and SSL_CERT_DIR name",
            ) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()
        if self._outside is not None:
            await self._outside.aclose()

    async def get_small(self, url: str, *, cap: int) -> bytes:
        """The whole body of a small answer, of at most ``cap`` bytes once decoded.

        Raises:
            MissingError: the server says that there is no such thing (404, 403, 410).
            NotAvailableError: it cannot be asked, or refuses.
            TransientError: it failed as often as it was asked.
            IntegrityError: the body is larger than ``cap``, or in an unknown encoding.

        """
        return await self._retrying(lambda: self._get_small_once(url, cap))

    @contextlib.asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        expected_size: int | None = None,
        cap: int | None = None,
        keep_encoding: bool = False,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body in chunks of about 1 MiB; a cut is mended by asking for the rest.

        ``expected_size`` (bytes) is known beforehand, ``cap`` is the most that is read.
        ``keep_encoding`` leaves a Content-Encoding as it came, as curl does, for files that a
        server merely labels so.

        Raises:
            MissingError: the server says that there is no such thing (404, 403, 410).
            NotAvailableError: it cannot be asked, or refuses.
            TransientError: it failed as often as it was asked; also while reading.
            IntegrityError: the body is not of the expected size; while reading.

        """
        if url.startswith("file:"):
            async with file_chunks(_local_path(url), expected_size=expected_size) as chunks:
                yield chunks
            return
        async with Body(self, url, expected_size=expected_size, cap=cap) as body:
            if keep_encoding or not body.encodings:
                yield body
            else:
                yield decoded(body, url, cap=cap)

    async def head(self, url: str) -> int | None:
        """The size in bytes of what is there, None where it is not told; asked once.

        Raises:
            GoneError: there is nothing.
            SourceError: no answer, or one that does not say whether there is something.

        """
        if url.startswith("file:"):
            return await asyncio.to_thread(_local_size, url)
        with contextlib.closing(await self.answer(url, method="HEAD")) as answer:
            return None if "content-encoding" in answer.headers else content_length(answer)

    async def _retrying(self, attempt: Callable[[], Awaitable[bytes]]) -> bytes:
        """Try until it succeeds, or fails for good, or has failed often enough."""
        failures = 0
        while True:
            try:
                return await attempt()
            except TransientError as error:
                failures += 1
                await self.pause(failures, error)

    async def pause(self, failures: int, error: TransientError) -> None:
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
        self, url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> Answer:
        """One answer of success (200 or 206), redirects followed, its body not read yet.

        Whoever asked closes it.

        Raises:
            SourceError: any other answer, or none.

        """
        answer = await self._send(method, url, headers or {})
        if answer.status in {200, 206}:
            return answer
        try:
            await _drain(answer)
            raise of_status(answer, url, self._now)
        finally:
            answer.close()

    async def _send(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        at = url
        client = self._client
        netrc = self._netrc
        for _ in range(self.settings.redirects + 1):
            try:
                answer = await client.ask(
                    method, at, {**self._headers, **_credentials(netrc, at), **headers}
                )
                location = answer.headers.get("location")
                if answer.status not in _REDIRECTS or location is None:
                    return answer
                try:
                    await _drain(answer)
                finally:
                    answer.close()
                source = httpx.URL(at)
                target = source.join(location)
            except FOREIGN as error:
                where = url if at == url else f"{url}: redirected to {at}"
                raise translate(error, where) from error
            if target.scheme not in _SCHEMES:
                raise NotAvailableError(f"{url}: redirected to {target}, which is not followed")
            if source.scheme == "https" and target.scheme == "http":
                # The bytes are judged by their hash, but a password must not go in the clear.
                netrc = None
            if await is_outside(source.host, self.settings.is_public):
                client = self._client_of_the_internet()
            at = str(target)
        raise NotAvailableError(f"{url}: more than {self.settings.redirects} redirects")

    def _client_of_the_internet(self) -> TransportClient:
        if self._outside is None:
            self._outside = self._transport_client(sockets_to(self.settings.is_public))
        return self._outside

    async def _get_small_once(self, url: str, cap: int) -> bytes:
        if url.startswith("file:"):
            async with file_chunks(_local_path(url)) as chunks:
                return await _collected(chunks, url, cap)
        patience = self.settings.answer_seconds
        async with Body(self, url, cap=cap, attempts=1, patience=patience) as body:
            chunks = decoded(body, url, cap=cap) if body.encodings else body
            return await _collected(chunks, url, cap)


async def _collected(chunks: AsyncIterator[bytes], url: str, cap: int) -> bytes:
    collected = bytearray()
    async for chunk in chunks:
        collected += chunk
        if len(collected) > cap:
            raise IntegrityError(f"{url}: larger than the {cap} bytes it may have")
    return bytes(collected)


async def _drain(answer: Answer) -> None:
    """Read the rest of a short answer: a connection with an unread one cannot be used again."""
    if (content_length(answer) or 0) > _DRAINED:
        return
    size = 0
    # A time-out is an OSError, and so one of those, too.
    with contextlib.suppress(*FOREIGN):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for piece in answer.pieces():
                size += len(piece)
                if size > _DRAINED:
                    return


def _credentials(netrc: httpx.NetRCAuth | None, url: str) -> Mapping[str, str]:
    """The header with what the netrc file has for the URL's host, which may be nothing.

    What the URL itself has comes first, as for curl.
    """
    if netrc is None or "@" in url.partition("://")[2].partition("/")[0]:
        return {}
    found = next(netrc.auth_flow(httpx.Request("GET", url))).headers.get("authorization")
    return {} if found is None else {"Authorization": found}


def _read_netrc(path: Path | None) -> httpx.NetRCAuth | None:
    # Nix's default is a file that mostly does not exist; often only root may read it.
    if path is None:
        return None
    try:
        see_plain_file(path, at_most=LARGEST_SECRET)
        return httpx.NetRCAuth(str(path))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except netrc.NetrcParseError as error:
        # Its own words have the token that is wrong, which may be a password.
        raise RequestError(
            f"the netrc file {path} cannot be read: see its line {error.lineno}"
        ) from None
    except (OSError, ValueError) as error:
        raise RequestError(f"the netrc file {path} cannot be read: {_reason(error)}") from None


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it is no text" if isinstance(error, UnicodeError) else type(error).__name__


def _local_size(url: str) -> int:
    path = _local_path(url)
    try:
        return path.stat().st_size
    except FileNotFoundError as error:
        raise GoneError(f"{url}: there is no such file") from error
    except OSError as error:
        raise NotAvailableError(f"{url}: {error.strerror}") from error


def _local_path(url: str) -> Path:
    nowhere = MissingError(f"{url}: a file:// URL names a file of this machine")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise nowhere from error
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc not in {"", "localhost"} or "\0" in path:
        raise nowhere
    return Path(path)
