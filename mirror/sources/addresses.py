"""Which addresses are on the public internet.

A server on the public internet must not lead a client into a private network, where redirects could
make it send requests to a router, a printer or a cloud's metadata service. Once a public server was
asked, its redirects lead to public addresses only. This is decided by the address that a connection
is made to, since a name may resolve to another address a moment later. (Behind a proxy, the proxy
decides.)
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet; False for text that is not an address.

    >>> is_public("151.101.2.217"), is_public("192.168.1.1"), is_public("fe80::1%eth0")
    (True, False, False)
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.is_site_local:
            return False
        parsed = _carried(parsed) or parsed
    return parsed.is_global and not parsed.is_multicast


async def is_outside(host: str, public: Callable[[str], bool]) -> bool:
    """Whether ``host`` has a public address; one that only a proxy can find is taken to have."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return any(public(str(address[0])) for *_, address in found)


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that is embedded in an IPv6 address, if there is one."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
