"""Where the proxies are that the environment names."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies_environment


async def addresses_of_proxies() -> frozenset[str]:
    """The IP addresses of the proxies that the environment names."""
    loop = asyncio.get_running_loop()
    found: set[str] = set()
    for scheme, proxy in getproxies_environment().items():
        with contextlib.suppress(OSError, ValueError):  # the request will say what is wrong
            host = urlsplit(proxy if "://" in proxy else f"http://{proxy}").hostname
            if host and scheme != "no":
                answers = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                found.update(str(address[0]) for *_, address in answers)
    return frozenset(found)
