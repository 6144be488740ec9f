"""Where the NAR is that a narinfo names, which must be at the cache's own server or below it.

Over HTTP a narinfo's ``URL`` is resolved as any reference in a page is: it may have a query, lead
up by ``..``, begin with a slash, or be absolute, as long as scheme, host and port stay the same. (A
server may redirect from there; whoever follows that looks where it leads.) In a directory it names
a file of that directory, literally.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from mirror.errors import IntegrityError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_PORTS: Final = {"http": 80, "https": 443}


def nar_location(cache: str, url: str) -> str:
    """The URL of a NAR; ``cache`` is that of its cache, without a slash at its end.

    Raises:
        IntegrityError: it is outside of the cache.

    """
    outside = IntegrityError(f"its URL {url} is outside of the cache")
    try:
        base, named = urlsplit(cache), urlsplit(url)
        if base.scheme != "file":
            location = urljoin(f"{cache}/", url)
            if _server(urlsplit(location)) != _server(base):
                raise outside
            return location
    except ValueError as error:
        raise outside from error
    leads_up = any(unquote(part) in {".", ".."} for part in url.split("/"))
    if named.scheme or named.netloc or url.startswith("/") or leads_up:
        raise outside
    return f"{cache}/{quote(url)}"


def _server(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)
