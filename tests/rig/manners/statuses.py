"""Statuses: which of them are the thing itself, which are final, which pass."""

from __future__ import annotations

from typing import Final

from rig.manners.behaviour import BODY, Behaviour, head, raw, whole

_PASSING: Final = (
    "408 Request Timeout",
    "429 Too Many Requests",
    "500 Internal Server Error",
    "502 Bad Gateway",
    "503 Service Unavailable",
    "504 Gateway Timeout",
    "520 Unknown",
    "599 Unknown",
)
_FINAL: Final = (
    "400 Bad Request",
    "401 Unauthorized",
    "402 Payment Required",
    "403 Forbidden",
    "404 Not Found",
    "405 Method Not Allowed",
    "406 Not Acceptable",
    "407 Proxy Authentication Required",
    "410 Gone",
    "451 Unavailable For Legal Reasons",
    "499 Unknown",
)

BEHAVIOURS: Final = (
    *(
        Behaviour(name=status, script=(whole(status=status),))
        for status in (
            "201 Created",
            "202 Accepted",
            "203 Non-Authoritative Information",
            "226 IM Used",
            "299 Unknown",
        )
    ),
    Behaviour(name="204 No Content", script=(raw(head("204 No Content")),), given=b""),
    Behaviour(
        name="205 Reset Content", script=(whole(status="205 Reset Content", body=b""),), given=b""
    ),
    Behaviour(
        name="206 that nobody asked for",
        script=(
            whole(
                f"Content-Range: bytes 0-{len(BODY) - 1}/{len(BODY)}", status="206 Partial Content"
            ),
        ),
    ),
    Behaviour(
        name="206 of a part, which nobody asked for",
        script=(whole("Content-Range: bytes 0-9/99", status="206 Partial Content"),),
        unlike="what has come is not all",
    ),
    Behaviour(
        name="300 without a Location",
        script=(whole(status="300 Multiple Choices"),),
        unlike="its body is about the thing, and not the thing",
    ),
    Behaviour(
        name="304 that nobody asked for",
        script=(raw(head("304 Not Modified")),),
        given=b"",
        unlike="nothing came",
    ),
    *(
        Behaviour(name=f"{status} for good", script=(whole(status=status),), given=None)
        for status in _FINAL
    ),
    *(
        Behaviour(name=f"{status} for now", script=(whole(status=status), whole()))
        for status in _PASSING
    ),
    Behaviour(
        name="503 and no end of it", script=(whole(status="503 Service Unavailable"),), given=None
    ),
    *(
        Behaviour(
            name=f"Retry-After: {after}",
            script=(whole(f"Retry-After: {after}", status="429 Too Many Requests"), whole()),
        )
        for after in (
            "1",
            "0",
            "Thu, 01 Jan 1970 00:00:01 GMT",
            "-1",
            "soon",
            "",
            "1.5",
        )
    ),
    Behaviour(
        name="Retry-After: a day",
        script=(whole("Retry-After: 86400", status="429 Too Many Requests"), whole()),
        unlike="a run does not wait for so long: another place may have it",
    ),
    Behaviour(name="600", script=(whole(status="600 Beyond"),), given=None),
    Behaviour(name="999 Request denied", script=(whole(status="999 Request denied"),), given=None),
    Behaviour(name="000", script=(whole(status="000 Nothing"),), given=None),
)
