"""What a behaviour is, and short ways to write its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rig.manners.server import Answer, Then

if TYPE_CHECKING:
    from rig.manners.server import Reaction

BODY: Final = b"what was asked for, from its first byte to its last"
START: Final = "http://127.0.0.1:{port}/a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a server answers, and what comes of it.

    ``given`` is what the newest curl comes to have, None where it fails. ``older`` says what an
    older one does otherwise; ``unlike`` why the project's client does otherwise, and ``ours`` what
    it comes to have then. All are asked for ``url``, with ``netrc`` as the netrc file if there is
    one, and send the same requests.
    """

    name: str
    script: tuple[Reaction, ...]
    given: bytes | None = BODY
    older: str | None = None
    unlike: str | None = None
    ours: bytes | None = None
    url: str = START
    netrc: str | None = None
    address: str = "127.0.0.1"


def raw(*pieces: bytes, then: Then = Then.KEEP) -> Answer:
    """These very bytes."""
    return Answer(pieces, then)


def cut(*pieces: bytes) -> Answer:
    """These bytes, and then the end of the connection."""
    return Answer(pieces, Then.CLOSE)


def head(status: str, *lines: bytes | str) -> bytes:
    """The head of an HTTP/1.1 answer, to its empty line."""
    encoded = (line.encode() if isinstance(line, str) else line for line in lines)
    return b"\r\n".join([b"HTTP/1.1 " + status.encode(), *encoded, b"", b""])


def whole(*lines: bytes | str, status: str = "200 OK", body: bytes = BODY) -> Answer:
    """A whole answer, with its length."""
    return Answer((head(status, f"Content-Length: {len(body)}", *lines) + body,))


def chunked(body: bytes, *lines: bytes | str) -> Answer:
    """An answer with ``body`` as its chunked body, as it is."""
    return Answer((head("200 OK", "Transfer-Encoding: chunked", *lines) + body,))


def moved(location: bytes | str, *lines: bytes | str, status: str = "302 Found") -> Answer:
    """A redirect, without a body."""
    encoded = location.encode() if isinstance(location, str) else location
    return whole(b"Location: " + encoded, *lines, status=status, body=b"")
