"""What goes wrong over HTTP, in the project's own errors.

libcurl's errors, which are numbers with words, are mapped here and nowhere else.
"""

from __future__ import annotations

import email.utils
from datetime import UTC
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import pycurl

from mirror.curl.failure import NOT_FOLLOWED, CurlError
from mirror.errors import NotAvailableError, SourceError, TransientError
from mirror.sources.server_errors import CertificateError, GoneError, MissingError, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import httpx

_MISSING: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN, HTTPStatus.GONE})
_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_LATER: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
_NEVER: Final = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
_SERVER_ERRORS: Final = 500
_LONGEST: Final = 300
_NO_HTTP: Final = "HTTP/0.9"
_BAD_PROXY: Final = "Unsupported proxy"
"""What libcurl's words begin with that have all of the proxy's URL, its password among it."""
_OF_PROXY: Final = frozenset({pycurl.E_COULDNT_RESOLVE_PROXY, 97})
"""libcurl's errors that only a proxy makes; the latter has no name in pycurl: of SOCKS."""
_PROXY_WORDS: Final = ("over proxy", "CONNECT", _BAD_PROXY)
"""What libcurl says of a proxy where its error is one that servers make, too."""
_SEE_PROXY: Final = "check the variables http_proxy, https_proxy, all_proxy and no_proxy"

_KINDS: Final[Mapping[int, tuple[type[SourceError], str]]] = {
    NOT_FOLLOWED: (NotAvailableError, "not followed"),
    pycurl.E_PEER_FAILED_VERIFICATION: (CertificateError, "its certificate is not valid: "),
    pycurl.E_SSL_ISSUER_ERROR: (CertificateError, "its certificate is not valid: "),
    pycurl.E_SSL_CACERT_BADFILE: (CertificateError, "the certificates cannot be read: "),
    pycurl.E_URL_MALFORMAT: (NotAvailableError, "not a URL that can be asked for: "),
    pycurl.E_UNSUPPORTED_PROTOCOL: (NotAvailableError, "not a URL that can be asked for: "),
    pycurl.E_TOO_MANY_REDIRECTS: (NotAvailableError, ""),
    pycurl.E_OPERATION_TIMEDOUT: (TimedOutError, "timed out: "),
    pycurl.E_PARTIAL_FILE: (TransientError, "the answer was cut short: "),
    pycurl.E_GOT_NOTHING: (TransientError, "the connection was closed without an answer: "),
    # of ftp
    pycurl.E_REMOTE_FILE_NOT_FOUND: (GoneError, ""),
    pycurl.E_REMOTE_ACCESS_DENIED: (MissingError, ""),
    pycurl.E_LOGIN_DENIED: (NotAvailableError, ""),
}
"""What libcurl's errors are here, and how the words begin; all others may pass."""


def translate(error: CurlError, url: str) -> SourceError:
    """The project's error for one of libcurl's, met while asking for ``url``."""
    where = url if error.url == url else f"{url}: redirected to {error.url}"
    kind, words = _KINDS.get(error.code, (TransientError, ""))
    if _NO_HTTP in str(error):  # libcurl calls that an unsupported protocol, too
        kind, words = TransientError, "that is not HTTP: "
    hint = None
    if kind is CertificateError:
        hint = "check this machine's clock and certificates (NIX_SSL_CERT_FILE)"
    elif error.code in _OF_PROXY or any(words in str(error) for words in _PROXY_WORDS):
        hint = _SEE_PROXY
    if _BAD_PROXY in str(error):
        return NotAvailableError(f"{where}: the proxy of the environment is none", hint=hint)
    return kind(f"{where}: {words}{str(error)[:_LONGEST]}", hint=hint)


def of_status(answer: httpx.Response, url: str, now: Callable[[], datetime]) -> SourceError:
    """The error for an unsuccessful status."""
    status = answer.status_code
    text = f"{url}: HTTP {status} {_reason(status)}".rstrip()
    if status in _GONE:
        return GoneError(text)
    if status in _MISSING:
        return MissingError(text)
    if status in _LATER or (status >= _SERVER_ERRORS and status not in _NEVER):
        return TransientError(text, retry_after=_retry_after(answer, now))
    if status == HTTPStatus.UNAUTHORIZED:
        return NotAvailableError(text, hint="put the host's credentials into the netrc file")
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return NotAvailableError(text, hint=_SEE_PROXY)
    return NotAvailableError(text)


def _retry_after(answer: httpx.Response, now: Callable[[], datetime]) -> float | None:
    """The pause that the server asks for, in seconds: it says it in seconds or as a date."""
    text: str = answer.headers.get("retry-after", "").strip()
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
