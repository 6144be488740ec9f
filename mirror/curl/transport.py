"""httpx's transport on libcurl, which knows what servers and proxies do; where it goes is ours.

A request may have these extensions:

``url``
    The URL as it was written: none of its escapes is changed, as they may be signed.
``seconds``
    The time limit for the whole answer, including its body.
``any_certificate``
    Any certificate is accepted; no password is sent.
``ftp``
    The URL may also be an ftp URL.

An answer has ``url``, where it came from at last, and ``encodings``: the Content-Encodings that the
server applied, in its order, which are not undone.
"""

from __future__ import annotations

import asyncio
import math
import re
from typing import TYPE_CHECKING, Final

import httpx
import pycurl

from mirror.curl.failure import NOT_FOLLOWED, CurlError
from mirror.curl.multi import Multi
from mirror.curl.proxies import addresses_of_proxies
from mirror.curl.transfer import Head, Transfer
from mirror.trust import Certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mirror.curl.settings import CurlSettings

_REDIRECTS: Final = range(300, 400)
"""What leads elsewhere, where there is a Location; curl does not look closer either."""
_LONGEST_REDIRECT: Final = 1 << 20
"""The most that the body of a redirect may have, in bytes."""
_STREAMS: Final = 16
"""How many requests go over one connection at once where HTTP/2 is spoken, on average."""
_SUCCESS: Final = 200
_HOST: Final = re.compile(r"[A-Za-z][\w+.-]*://[^/?#]*")
_AUTHORITY: Final = re.compile(r"(?:[A-Za-z][\w+.-]*:)?//([^/?#]*)")
_WEB: Final = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
_FTP_TOO: Final = _WEB | pycurl.PROTO_FTP


class CurlTransport(httpx.AsyncBaseTransport):
    """Follows redirects, with the cookies of that chain, and hands on the last answer.

    Once a server on the public internet was asked, its redirects lead to public addresses only.
    This is decided when a connection is made, by the address that it is made to.
    """

    def __init__(self, settings: CurlSettings) -> None:
        self._settings = settings
        self._options = _options(settings)
        self._idle: list[Transfer] = []
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._multiplexed: set[str] = set()
        self._anywhere: Multi | None = None
        self._outside: Multi | None = None
        """What the open internet leads to: it shares no connection with what we were told of."""
        self._proxies: frozenset[str] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask, and wait for the head of the answer.

        Raises:
            CurlError: there is none.

        """
        transfer = self._idle.pop() if self._idle else Transfer(self._options)
        try:
            _prepare(transfer, request, netrc=self._settings.netrc is not None)
            return await self._follow(transfer, request)
        except BaseException:
            transfer.stop()
            self._idle.append(transfer)
            raise

    async def aclose(self) -> None:
        """End all transfers and connections."""
        for multi in (self._anywhere, self._outside):
            if multi is not None:
                multi.close()
        for transfer in self._idle:
            transfer.easy.close()
        self._idle.clear()
        self._anywhere = self._outside = None

    async def _follow(self, transfer: Transfer, request: httpx.Request) -> httpx.Response:
        if self._anywhere is None:
            self._anywhere = Multi(self._settings.connections_per_host)
        multi = self._anywhere
        url = first = request.extensions.get("url") or str(request.url)
        for _ in range(self._settings.redirects + 1):
            host = host_of(url)
            turn = self._turns.get(host)
            if turn is None:
                turn = self._turns[host] = asyncio.Semaphore(self._settings.connections_per_host)
            await turn.acquire()
            try:
                transfer.start(multi, url)
                head, target = await self._answer(transfer, request)
                if head.is_multiplexed and host not in self._multiplexed:
                    self._allow_streams(host, turn)
                if target is None:
                    return httpx.Response(
                        head.status or _SUCCESS,
                        headers=head.headers,
                        stream=_Stream(self, transfer, turn),
                        extensions={"url": url, "encodings": head.encodings},
                        request=request,
                    )
            except BaseException:
                turn.release()
                raise
            turn.release()
            transfer.stop()
            if not _is_web(target):
                raise CurlError(NOT_FOLLOWED, "", target)
            if url[:6].lower() == "https:" != target[:6].lower():
                # The bytes are judged by their hash, but a password must not go in the clear.
                transfer.easy.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
            if multi is not self._outside and await self._is_outside(transfer):
                multi = self._restrict(transfer)
            url = _with_credentials(target, url, head.location)
        raise CurlError(
            pycurl.E_TOO_MANY_REDIRECTS, f"more than {self._settings.redirects} redirects", first
        )

    async def _answer(self, transfer: Transfer, request: httpx.Request) -> tuple[Head, str | None]:
        """Wait for a head, but not for ever for one that does not end, and where it leads to."""
        if "seconds" in request.extensions:
            return await _answer(transfer)  # libcurl has the time
        seconds = self._settings.answer_seconds
        try:
            async with asyncio.timeout(seconds):
                return await _answer(transfer)
        except TimeoutError as error:
            words = f"no whole answer within {seconds:g} seconds"
            raise CurlError(pycurl.E_OPERATION_TIMEDOUT, words, transfer.url) from error

    def _allow_streams(self, host: str, turn: asyncio.Semaphore) -> None:
        self._multiplexed.add(host)
        for _ in range(self._settings.connections_per_host * (_STREAMS - 1)):
            turn.release()

    async def _is_outside(self, transfer: Transfer) -> bool:
        """Whether the server that was asked is on the public internet; True behind a proxy."""
        address = transfer.easy.getinfo(pycurl.PRIMARY_IP)
        if self._proxies is None:
            self._proxies = await addresses_of_proxies()
        return self._settings.is_public(address) or address in self._proxies

    def _restrict(self, transfer: Transfer) -> Multi:
        """Let the transfer make no connections but to public addresses, and to proxies."""
        proxies = self._proxies or frozenset()
        is_public = self._settings.is_public
        transfer.allows = lambda address: is_public(address) or address in proxies
        if self._outside is None:
            self._outside = Multi(self._settings.connections_per_host)
        return self._outside

    def give_back(self, transfer: Transfer, turn: asyncio.Semaphore) -> None:
        """Release what a request no longer needs."""
        transfer.stop()
        self._idle.append(transfer)
        turn.release()


class _Stream(httpx.AsyncByteStream):
    """The body of an answer, in chunks of about 1 MiB."""

    def __init__(
        self, transport: CurlTransport, transfer: Transfer, turn: asyncio.Semaphore
    ) -> None:
        self._transport = transport
        self._transfer: Transfer | None = transfer
        self._turn = turn

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._transfer is not None and (chunk := await self._transfer.chunk()):
            yield chunk

    async def aclose(self) -> None:
        if self._transfer is not None:
            self._transport.give_back(self._transfer, self._turn)
            self._transfer = None


def _options(settings: CurlSettings) -> Sequence[tuple[int, object]]:
    """Options that are the same for every request."""
    certificates = settings.certificates or Certificates()
    options: list[tuple[int, object]] = [
        (pycurl.NOSIGNAL, 1),
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
        (pycurl.PIPEWAIT, 1),
        (pycurl.CONNECTTIMEOUT_MS, round(settings.connect_seconds * 1000)),
        (pycurl.LOW_SPEED_LIMIT, math.ceil(settings.least_bytes_per_second)),
        (pycurl.LOW_SPEED_TIME, math.ceil(settings.speed_seconds)),
        (pycurl.COOKIEFILE, ""),  # of no file, but cookies are kept in a chain of redirects
        (pycurl.FTP_USE_EPSV, 0),
    ]
    for option, path in (
        (pycurl.NETRC_FILE, settings.netrc),
        (pycurl.CAINFO, certificates.file),
        (pycurl.PROXY_CAINFO, certificates.file),
        (pycurl.CAPATH, certificates.directory),
        (pycurl.PROXY_CAPATH, certificates.directory),
    ):
        if path is not None:
            options.append((option, str(path)))
    return options


def _prepare(transfer: Transfer, request: httpx.Request, *, netrc: bool) -> None:
    easy, extensions = transfer.easy, request.extensions
    headers = [name + b": " + value for name, value in request.headers.raw if name != b"Host"]
    easy.setopt(pycurl.HTTPHEADER, headers)
    if request.method == "HEAD":
        easy.setopt(pycurl.NOBODY, 1)
    else:
        easy.setopt(pycurl.HTTPGET, 1)
    is_checked = not extensions.get("any_certificate")
    easy.setopt(pycurl.SSL_VERIFYPEER, int(is_checked))
    easy.setopt(pycurl.SSL_VERIFYHOST, 2 * is_checked)
    sends_passwords = netrc and is_checked
    easy.setopt(pycurl.NETRC, pycurl.NETRC_OPTIONAL if sends_passwords else pycurl.NETRC_IGNORED)
    easy.setopt(pycurl.PROTOCOLS, _FTP_TOO if extensions.get("ftp") else _WEB)
    easy.setopt(pycurl.TIMEOUT_MS, round(extensions.get("seconds", 0) * 1000))
    easy.setopt(pycurl.COOKIELIST, "ALL")  # forget them
    transfer.allows = None


async def _answer(transfer: Transfer) -> tuple[Head, str | None]:
    """The head, and where it leads to as libcurl reads it once the body is read; None: nowhere."""
    head = await transfer.head()
    if head.status not in _REDIRECTS:
        return head, None
    left = _LONGEST_REDIRECT
    while chunk := await transfer.chunk():
        left -= len(chunk)
        if left < 0:
            raise CurlError(pycurl.E_RECV_ERROR, "a redirect with a body without end", transfer.url)
    return head, transfer.easy.getinfo(pycurl.REDIRECT_URL)


def host_of(url: str) -> str:
    """The URL up to its path."""
    found = _HOST.match(url)
    return found[0] if found else ""


def _is_web(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _with_credentials(target: str, url: str, location: str) -> str:
    """The target of a redirect with a user and password, which libcurl leaves out of it.

    They are the Location's own, else on the same host those of ``url``, which it came from.
    """
    credentials = _credentials(location)
    if not credentials:
        same_host = host_of(url).replace(_credentials(url), "", 1).lower()
        credentials = _credentials(url) if host_of(target).lower() == same_host else ""
    scheme, _, rest = target.partition("//")
    return f"{scheme}//{credentials}{rest}"


def _credentials(url: str) -> str:
    """The user and password of a URL, with the ``@`` after them; empty if there are none."""
    found = _AUTHORITY.match(url)
    credentials, sign, _ = found[1].rpartition("@") if found else ("", "", "")
    return credentials + sign
