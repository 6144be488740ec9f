"""What goes wrong over HTTP, in the project's own errors.

Two libraries are below: httpx, whose interface is used, and aiohttp, which does the work and some
of whose errors come through. Everything that they raise is mapped here and nowhere else.
"""

from __future__ import annotations

import email.utils
import ssl
from datetime import UTC
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp
import httpx
from aiohttp import http_exceptions

from mirror.errors import NotAvailableError, SourceError, TransientError
from mirror.sources.http.addresses import PrivateAddressError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mirror.sources.http.transport import Answer

FOREIGN: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpx.CookieConflict,
    aiohttp.ClientError,
    http_exceptions.HttpProcessingError,
    OSError,
    # aiohttp reports a URL that it cannot encode, and a header it cannot send, as these.
    ValueError,
)
"""What the two libraries and the sockets below them raise."""

_UNUSABLE: Final = (
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    ValueError,
)
_MISSING: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN, HTTPStatus.GONE})
_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_LATER: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
_NEVER: Final = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
_SERVER_ERRORS: Final = 500
_LONGEST: Final = 300


class MissingError(NotAvailableError):
    """The server answered, and says that it does not have it (404, 403 or 410)."""


class GoneError(MissingError):
    """The server says that there is nothing there (404 or 410), not merely nothing for us."""


class ChangedError(TransientError):
    """The file is another one now: what came of it cannot be completed, and is to be had anew."""


class TimedOutError(TransientError):
    """The server was silent, or too slow, for as long as one waits."""


def translate(error: Exception, url: str) -> SourceError:
    """The project's error for one of :data:`FOREIGN`, met while asking for ``url``."""
    chain = [error, error.__cause__, error.__context__]
    certificate = next((e for e in chain if isinstance(e, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        return NotAvailableError(
            f"{url}: its certificate is not valid: {_words(certificate)}",
            hint="check this machine's clock and certificates (SSL_CERT_FILE)",
        )
    # The transport has wrapped it, and what it has wrapped it in.
    if any(isinstance(e.__cause__, PrivateAddressError) for e in chain if e is not None):
        return NotAvailableError(
            f"{url}: not followed from the open internet into a private network"
        )
    if isinstance(error, _UNUSABLE):
        return NotAvailableError(f"{url}: not a URL that can be asked for: {_words(error)}")
    # The cause is looked at first: the transport takes some failures to connect for time-outs.
    if any(isinstance(e, aiohttp.ServerDisconnectedError) for e in chain):
        problem = "the server closed the connection without an answer"
    elif any(isinstance(e, aiohttp.ClientPayloadError) for e in chain):
        problem = "the answer was cut short"
    elif any(isinstance(e, aiohttp.ClientConnectorError) for e in chain):
        problem = _words(error)
    elif any(isinstance(e, aiohttp.ServerTimeoutError | httpx.TimeoutException) for e in chain):
        return TimedOutError(f"{url}: timed out: {_words(error)}")
    elif isinstance(error, aiohttp.ClientResponseError):
        # Its own text begins with a status, which no server sent.
        problem = f"that is no HTTP/1.1: {_words(getattr(error, 'message', ''))}"
    else:
        problem = _words(error)
    return TransientError(f"{url}: {problem}")


def of_status(answer: Answer, url: str, now: Callable[[], datetime]) -> SourceError:
    """The error for an answer that is not the thing that was asked for."""
    status = answer.status
    text = f"{url}: HTTP {status} {_reason(status)}".rstrip()
    if status in _GONE:
        return GoneError(text)
    if status in _MISSING:
        return MissingError(text)
    if status in _LATER or (status >= _SERVER_ERRORS and status not in _NEVER):
        return TransientError(text, retry_after=_retry_after(answer, now))
    if status == HTTPStatus.UNAUTHORIZED:
        return NotAvailableError(text, hint="put the host's credentials into the netrc file")
    return NotAvailableError(text)


def _retry_after(answer: Answer, now: Callable[[], datetime]) -> float | None:
    """The pause that the server asks for, in seconds: it says it in seconds or as a date."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - now()).total_seconds())
    except (ValueError, OverflowError):
        return None


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _words(error: BaseException | str) -> str:
    """What it says, but not all that a server sent, which may be in it."""
    text = " ".join(str(error).split())
    return text[:_LONGEST] or type(error).__name__
