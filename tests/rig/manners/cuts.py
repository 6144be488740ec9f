"""Bodies that are cut: what the next request gets, and connections that end before an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rig.manners.behaviour import BODY, Behaviour, cut, head, moved, raw, whole
from rig.manners.server import Then

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig.manners.server import Answer, Request

_LENGTH: Final = f"Content-Length: {len(BODY)}"
_LARGE: Final = bytes(range(256)) * 4096
_OTHER: Final = _LARGE[::-1]
_TAG: Final = 'ETag: "one"'
_DATE: Final = "Last-Modified: Thu, 01 Jan 1970 00:00:01 GMT"
_CUT: Final = 300_000
_SIZE: Final = len(_LARGE)
_LAST: Final = _SIZE - 1
_PARTIAL: Final = "206 Partial Content"
_BEYOND: Final = "416 Range Not Satisfiable"


def _cut_off(*lines: str, then: Then = Then.CLOSE) -> Answer:
    length = f"Content-Length: {_SIZE}"
    return raw(head("200 OK", length, *lines) + _LARGE[:_CUT], then=then)


def _part(content_range: str, body: bytes, *lines: str) -> Answer:
    lines = (f"Content-Range: {content_range}", *(lines or (_TAG,)))
    return whole(*lines, status=_PARTIAL, body=body)


def _rest(*lines: str) -> Callable[[Request], Answer]:
    """What a server with ranges gives: the part that is asked for, or all."""

    def answer(request: Request) -> Answer:
        asked = request.headers.get("range")
        if asked is None:
            return whole(*lines, body=_LARGE)
        first = int(asked.removeprefix("bytes=").removesuffix("-"))
        return _part(f"bytes {first}-{_LAST}/{_SIZE}", _LARGE[first:], *lines)

    return answer


_ALL: Final = whole(_TAG, body=_LARGE)

BEHAVIOURS: Final = (
    Behaviour(
        name="a cut, and the rest when it is asked for",
        script=(_cut_off(_TAG), _rest(_TAG)),
        given=_LARGE,
    ),
    Behaviour(
        name="a reset, and the rest when it is asked for",
        script=(_cut_off(_TAG, then=Then.RESET), _rest(_TAG)),
        given=_LARGE,
    ),
    Behaviour(
        name="a cut, and the rest of a file that has a date",
        script=(_cut_off(_DATE), _rest(_DATE)),
        given=_LARGE,
    ),
    Behaviour(
        name="a cut, the rest or all of a file that nothing is known of",
        script=(_cut_off(), _rest("X: y")),
        given=_LARGE,
    ),
    Behaviour(
        name="a cut, and all again",
        script=(_cut_off(_TAG), whole(_TAG, body=_LARGE)),
        given=_LARGE,
    ),
    Behaviour(
        name="a cut, another part, and all again",
        script=(_cut_off(_TAG), _part(f"bytes 5-{_LAST}/{_SIZE}", _LARGE[5:]), _ALL),
        given=_LARGE,
    ),
    Behaviour(
        name="a cut, a part that does not say which, and all again",
        script=(_cut_off(_TAG), whole(_TAG, status=_PARTIAL, body=_LARGE[_CUT:]), _ALL),
        given=_LARGE,
    ),
    Behaviour(
        name="a cut, and all again as a part",
        script=(_cut_off(_TAG), _part(f"bytes 0-{_LAST}/{_SIZE}", _LARGE), _ALL),
        given=_LARGE,
    ),
    Behaviour(
        name="a cut, and a part of a size that is not told",
        script=(_cut_off(_TAG), _part(f"bytes {_CUT}-{_LAST}/*", _LARGE[_CUT:])),
        given=_LARGE,
    ),
    Behaviour(
        name="a cut, and less than the rest",
        script=(
            _cut_off(_TAG),
            _part(f"bytes {_CUT}-{_LAST - 9}/{_SIZE}", _LARGE[_CUT:-9]),
            _rest(_TAG),
        ),
        given=_LARGE[:-9],
        unlike="it was said to be more",
        ours=_LARGE,
    ),
    Behaviour(
        name="a cut, and another cut",
        script=(
            _cut_off(_TAG),
            cut(
                head(
                    f"{_PARTIAL}",
                    f"Content-Range: bytes {_CUT}-{_LAST}/{_SIZE}",
                    f"Content-Length: {_SIZE - _CUT}",
                    _TAG,
                )
                + _LARGE[_CUT : 2 * _CUT]
            ),
            _rest(_TAG),
        ),
        given=_LARGE,
    ),
    Behaviour(
        name="a cut, a failure that passes, and the rest",
        script=(_cut_off(_TAG), whole(status="503 Service Unavailable"), _rest(_TAG)),
        given=_LARGE,
    ),
    Behaviour(
        name="a cut, and the rest elsewhere",
        script=(_cut_off(_TAG), moved("/b"), _rest(_TAG)),
        given=_LARGE,
    ),
    Behaviour(
        name="a cut, 416, and all again",
        script=(_cut_off(_TAG), whole(f"Content-Range: bytes */{_SIZE}", status=_BEYOND), _ALL),
        given=_LARGE[:_CUT],
        older="asks for all again, as the client does",
        unlike="what has come is not all",
        ours=_LARGE,
    ),
    Behaviour(
        name="a cut, and the rest of another file",
        script=(
            _cut_off(_TAG),
            _part(f"bytes {_CUT}-{_LAST}/{_SIZE}", _OTHER[_CUT:], 'ETag: "two"'),
            whole('ETag: "two"', body=_OTHER),
        ),
        given=_LARGE[:_CUT] + _OTHER[_CUT:],
        unlike="it is begun anew, and not made of two",
        ours=_OTHER,
    ),
    Behaviour(
        name="cut before the first byte",
        script=(cut(head("200 OK", _LENGTH)), whole()),
    ),
    Behaviour(name="closed before the answer", script=(cut(b""), whole())),
    Behaviour(name="reset before the answer", script=(raw(b"", then=Then.RESET), whole())),
    Behaviour(
        name="closed before the answer on a connection that was used",
        script=(moved("/b"), cut(b""), whole()),
    ),
    Behaviour(
        name="cut again and again",
        script=(cut(head("200 OK", _LENGTH) + BODY[:5]),),
        given=None,
    ),
)
