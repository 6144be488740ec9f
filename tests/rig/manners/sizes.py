"""Answers to who asks for a size (HEAD): ``given`` is the size in figures, -1 if it is not told."""

from __future__ import annotations

from typing import Final

from rig.manners.behaviour import BODY, Behaviour, cut, head, moved, raw

_LENGTH: Final = f"Content-Length: {len(BODY)}"
_SIZE: Final = b"%d" % len(BODY)

BEHAVIOURS: Final = (
    Behaviour(name="a length", script=(raw(head("200 OK", _LENGTH)),), given=_SIZE),
    Behaviour(name="no length", script=(raw(head("200 OK")),), given=b"-1"),
    Behaviour(name="length 0", script=(raw(head("200 OK", "Content-Length: 0")),), given=b"0"),
    Behaviour(
        name="chunks", script=(raw(head("200 OK", "Transfer-Encoding: chunked")),), given=b"-1"
    ),
    Behaviour(
        name="a length and an encoding",
        script=(raw(head("200 OK", _LENGTH, "Content-Encoding: gzip")),),
        given=_SIZE,
        unlike="it is the size of something else",
        ours=b"-1",
    ),
    Behaviour(name="a body as well", script=(cut(head("200 OK", _LENGTH) + BODY),), given=_SIZE),
    Behaviour(
        name="a redirect",
        script=(
            raw(head("302 Found", "Location: /b", "Content-Length: 99")),
            raw(head("200 OK", _LENGTH)),
        ),
        given=_SIZE,
    ),
    Behaviour(
        name="See Other",
        script=(moved("/b", status="303 See Other"), raw(head("200 OK", _LENGTH))),
        given=_SIZE,
    ),
    Behaviour(name="absence", script=(raw(head("404 Not Found", _LENGTH)),), given=None),
    Behaviour(name="a refusal", script=(raw(head("403 Forbidden", _LENGTH)),), given=None),
    Behaviour(
        name="no such method", script=(raw(head("405 Method Not Allowed", _LENGTH)),), given=None
    ),
    Behaviour(name="a failure", script=(raw(head("503 Service Unavailable")),), given=None),
    Behaviour(name="no answer", script=(cut(b""),), given=None),
)
