"""Chains of redirects, drawn by a number: to and fro between hosts, with cookies and passwords."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Final

from rig.manners.behaviour import Behaviour, moved, whole

if TYPE_CHECKING:
    from rig.manners.server import Answer, Request

_HOSTS: Final = ("127.0.0.1:{port}", "127.0.0.1:{other}", "localhost:{port}", "LocalHost:{other}")
_USERS: Final = ("", "", "", "you:yours@", "other@", ":two@")
_PATHS: Final = ("/step{n}", "/dir/step{n}", "/dir/sub/step{n}#part", "/?step{n}", "?step{n}")
_RELATIVE: Final = (*_PATHS, "step{n}", "../step{n}", "./sub/step{n}?a=b%2Fc")
_STATUSES: Final = (
    *("301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect"),
    *("308 Permanent Redirect", "300 Multiple Choices"),
)
_ATTRIBUTES: Final = (
    *("", "", "; Path=/", "; Path=/dir", "; Path=/dir/", "; Domain=localhost"),
    *("; Domain=127.0.0.1", "; Secure", "; Max-Age=0", "; Max-Age=60; HttpOnly"),
)
_ENTRIES: Final = (
    "machine 127.0.0.1 login me password secret\n",
    "machine localhost login me too password secret\n",
    "machine localhost login other password two\n",
    "machine LocalHost login you password three\n",
    "default login anybody password four\n",
)
_STEP: Final = re.compile(r"step(\d+)")


def drawn_chain(number: int) -> Behaviour:
    """The chain of this number: of one to six redirects."""
    draw = random.Random(number)
    answers = []
    host = first = draw.choice(_HOSTS)
    for step in range(1, draw.randint(1, 6) + 1):
        location, host = _location(draw, host)
        cookies = (
            f"Set-Cookie: {draw.choice('abc')}={draw.randrange(9)}{draw.choice(_ATTRIBUTES)}"
            for _ in range(draw.randrange(3))
        )
        location = location.replace("{n}", str(step))
        answers.append(moved(location, *cookies, status=draw.choice(_STATUSES)))
    answers.append(whole())

    def answer(request: Request) -> Answer:
        steps = _STEP.findall(request.target)
        return answers[int(steps[-1]) if steps else 0]

    return Behaviour(
        name=str(number),
        script=(answer,),
        url=f"http://{draw.choice(_USERS)}{first}/dir/a?b=c",
        netrc="".join(draw.sample(_ENTRIES, draw.randint(0, 3))) or None,
    )


def _location(draw: random.Random, here: str) -> tuple[str, str]:
    """A Location of an answer of ``here``, and the host that it leads to."""
    if draw.random() < 0.5:
        return draw.choice(_RELATIVE), here
    host, user = draw.choice(_HOSTS), draw.choice(_USERS)
    if host.lower() == here.lower() and not user:
        # The newest curl forgets a password of the URL there; that is a behaviour of its own.
        return draw.choice(_RELATIVE), here
    return f"{draw.choice(('http:', 'HTTP:', ''))}//{user}{host}{draw.choice(_PATHS)}", host
