"""Redirects: which are followed, where their Locations lead, and the cookies set on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rig.manners.behaviour import BODY, START, Behaviour, cut, moved, whole

if TYPE_CHECKING:
    from rig.manners.server import Answer, Request

_HERE: Final = "http://127.0.0.1:{port}"
_CAPITALS: Final = "writes escapes as they are, and its own in small letters"


def _follows(
    name: str, location: bytes | str, *, start: str = "/from", older: str | None = None
) -> Behaviour:
    """A redirect from ``start`` to ``location``: all ask for the same thing then, and get it."""

    def answer(request: Request) -> Answer:
        return moved(location) if request.target == start else whole()

    return Behaviour(name=f"Location: {name}", script=(answer,), url=_HERE + start, older=older)


def _with_cookies(
    *lines: str, name: str, location: str = "/b", url: str = START, older: str | None = None
) -> Behaviour:
    """A redirect that sets cookies: both send the same of them with the next request."""
    cookies = (f"Set-Cookie: {line}" for line in lines)
    return Behaviour(
        name=f"cookie: {name}", script=(moved(location, *cookies), whole()), url=url, older=older
    )


def _once_it_comes_back(request: Request) -> Answer:
    return whole() if request.headers.get("cookie") == "seen=1" else moved("/a")


def _counted_down(request: Request) -> Answer:
    """As many redirects as the target says."""
    left = int(request.target[1:])
    return moved(f"/{left - 1}") if left else whole()


_TARGETS: Final = {
    "escapes in the query": "/a?X-Amz-Credential=KEY%2F2026%2Fs3&sig=a%2Bb%3D%3D",
    "escapes in the path": "/a%2Fb%2C%3A%40%27%7E%21%20c",
    "escapes of bytes above 127": "/%C3%A9%E4%FF",
    "signs that need no escape": "/a:b@c,d;e=f!g$h&i'(j)*k+l~m",
    "signs in the query": "/a?b=c/d?e:f@g,h;i!j$k'(l)*m+n~o",
    "a plus": "/gtk+-3.0.tar?x=a+b",
    "a percent sign alone": "/100%/a%zz?b=%",
    "dots in the path": "/b/../c/./d",
    "two slashes": "/b//c",
    "an empty query": "/a?",
    "two question marks": "/a??b",
    "a backslash": "/a\\b",
    "quotes and angles": '/a"b<c>',
    "a vertical bar and a caret": "/a|b^c`d",
    "a fragment": "/a#part",
    "a fragment with a query in it": "/a#part?b=c",
    "a query and a fragment": "/a?b=c#part",
}

BEHAVIOURS: Final = (
    *(
        Behaviour(name=f"asked for: {name}", script=(whole(),), url=_HERE + target)
        for name, target in _TARGETS.items()
    ),
    Behaviour(
        name="asked for: escapes in small letters",
        script=(whole(),),
        url=_HERE + "/a%2fb%7ec",
        older=_CAPITALS,
    ),
    Behaviour(
        name="asked for: escaped dots in the path",
        script=(whole(),),
        url=_HERE + "/b/%2e%2e/c",
        older="takes them for a name",
    ),
    Behaviour(name="asked for: an empty path", script=(whole(),), url=_HERE),
    Behaviour(name="asked for: a query alone", script=(whole(),), url=_HERE + "?b=c"),
    Behaviour(
        name="asked for: HTTP:// and a host in capitals",
        script=(whole(),),
        url="HTTP://LOCALHOST:{port}/A",
    ),
    Behaviour(
        name="asked for: a host with a dot at its end",
        script=(whole(),),
        url="http://127.0.0.1.:{port}/a",
        older="resolves no such address",
    ),
    Behaviour(
        name="asked for: a name with a dot at its end",
        script=(whole(),),
        url="http://localhost.:{port}/a",
        older="resolves no such name",
    ),
    Behaviour(
        name="asked for: a host in figures", script=(whole(),), url="http://2130706433:{port}/a"
    ),
    Behaviour(
        name="asked for: a name below localhost",
        script=(whole(),),
        url="http://cache.localhost:{port}/a",
    ),
    Behaviour(
        name="asked for: a name beyond ASCII",
        script=(whole(),),
        url="http://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.localhost:{port}/a",
        older="knows such names in a locale of UTF-8 only",
        unlike="it is asked for in ASCII, as DNS has it",
        ours=BODY,
    ),
    Behaviour(
        name="asked for: IPv6", script=(whole(),), url="http://[::1]:{port}/a", address="::1"
    ),
    Behaviour(
        name="asked for: bytes beyond ASCII",
        script=(whole(),),
        url=_HERE + "/\N{LATIN SMALL LETTER E WITH ACUTE}",
        older=_CAPITALS,
    ),
    Behaviour(name="asked for: port 0", script=(whole(),), url="http://127.0.0.1:0/a", given=None),
    Behaviour(
        name="asked for: a port beyond all",
        script=(whole(),),
        url="http://127.0.0.1:65536/a",
        given=None,
    ),
    Behaviour(
        name="asked for: a port of letters",
        script=(whole(),),
        url="http://127.0.0.1:http/a",
        given=None,
    ),
    *(_follows(name, target) for name, target in _TARGETS.items()),
    *(
        _follows(f"{name}, with the host", _HERE + target)
        for name, target in _TARGETS.items()
        if target.startswith("/a")
    ),
    _follows(
        "bytes beyond ASCII, UTF-8", "/\N{LATIN SMALL LETTER E WITH ACUTE}?x=\xe9", older=_CAPITALS
    ),
    _follows("bytes beyond ASCII, Latin-1", b"/caf\xe9?x=\xff", older=_CAPITALS),
    _follows("escapes in small letters", "/a%2fb%7ec", older=_CAPITALS),
    _follows("escaped dots in the path", "/b/%2e%2e/c", older="takes them for a name"),
    _follows("a blank within", "/a b?c d"),
    _follows("blanks around", "   /b   "),
    _follows("a tab within", "/a\tb", older="refuses it"),
    _follows("a name without a slash", "b", start="/dir/a?q=1"),
    _follows("one directory up", "../b", start="/one/two/a"),
    _follows("more directories up than there are", "../../../b", start="/one/a"),
    _follows("a query alone", "?b=c", start="/dir/a?q=1"),
    Behaviour(
        name="Location: a fragment alone",
        script=(moved("#b"), whole()),
        url=_HERE + "/a?q=1",
        older="asks for the root",
    ),
    _follows("without a scheme", "//127.0.0.1:{other}/b"),
    _follows("without a scheme or a path", "//127.0.0.1:{other}"),
    _follows("HTTP:// in capitals", "HTTP://127.0.0.1:{port}/b"),
    _follows("a host alone", "http://127.0.0.1:{other}"),
    _follows("a host and a query", "http://127.0.0.1:{other}?b=c"),
    _follows("http:/ with one slash", "http:/127.0.0.1:{port}/b"),
    _follows("http:/// with three slashes", "http:///127.0.0.1:{port}/b"),
    Behaviour(
        name="Location: with the fragment of the start",
        script=(moved("/b"), whole()),
        url=START + "#part",
    ),
    Behaviour(
        name="Location: empty",
        script=(moved(""),),
        given=b"",
        unlike="it leads nowhere, and its body is not the thing",
    ),
    Behaviour(
        name="Location: missing",
        script=(whole(status="302 Found"),),
        unlike="it leads nowhere, and its body is not the thing",
    ),
    Behaviour(
        name="Location: twice",
        script=(moved("/b", "Location: /c"),),
        given=None,
        older="follows the first",
    ),
    Behaviour(name="Location: in an answer of 200", script=(whole("Location: /b"),)),
    Behaviour(
        name="Location: in an answer of 404",
        script=(whole("Location: /b", status="404 Not Found"),),
        given=None,
    ),
    *(
        Behaviour(name=f"redirected by {status}", script=(moved("/b", status=status), whole()))
        for status in (
            "300 Multiple Choices",
            "301 Moved Permanently",
            "302 Found",
            "303 See Other",
            "305 Use Proxy",
            "306 Switch Proxy",
            "307 Temporary Redirect",
            "308 Permanent Redirect",
        )
    ),
    Behaviour(
        name="a redirect with a body",
        script=(whole("Location: /b", status="301 Moved Permanently"), whole()),
    ),
    Behaviour(
        name="a redirect that is cut",
        older="does not look at its body",
        script=(
            cut(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 99\r\n\r\nshort"),
            whole(),
        ),
    ),
    Behaviour(name="15 redirects", script=(_counted_down,), url=_HERE + "/15"),
    Behaviour(name="20 redirects", script=(_counted_down,), url=_HERE + "/20"),
    Behaviour(name="21 redirects", script=(_counted_down,), url=_HERE + "/21", given=None),
    Behaviour(name="redirects in a circle", script=(moved("/a"),), given=None),
    *(
        Behaviour(name=f"redirected to {target}", script=(moved(target),), given=None)
        for target in (
            "file:///etc/hostname",
            "gopher://127.0.0.1:{port}/b",
            "data:,b",
            "mailto:b",
            "b:c/d",
            "//nowhere.invalid/b",
        )
    ),
    _with_cookies("seen=1", name="one"),
    _with_cookies("a=1; Path=/", "b=2; HttpOnly", "c=3; SameSite=Lax", name="several"),
    _with_cookies("a=1; Path=/other", "b=2; Path=/b", "c=3; Path=/bc", name="of other paths"),
    _with_cookies("a=1; Domain=example.org", "b=2; Domain=127.0.0.1", name="of other hosts"),
    _with_cookies("a=1; Secure", "__Secure-b=1", "__Host-c=1; Path=/", name="for TLS only"),
    _with_cookies("a=1; Max-Age=0", "b=1; Max-Age=60", "c=1; Max-Age=-1", name="of some age"),
    _with_cookies(
        "a=1; Expires=Thu, 01 Jan 1970 00:00:01 GMT",
        "b=1; Expires=Fri, 01 Jan 2100 00:00:00 GMT",
        "c=1; Expires=never",
        name="with dates",
    ),
    _with_cookies('a="quoted"', "b=x=y=z", "c", "d=", "=e", "f=a b", name="of odd texts"),
    _with_cookies("a=1", "a=2", "A=3", name="set twice", older="takes A for a"),
    _with_cookies("a=1", location="http://127.0.0.1:{other}/b", name="at another port"),
    _with_cookies("a=1", location="http://localhost:{port}/b", name="at another host"),
    _with_cookies("a=" + "b" * 5000, "c=1", name="too long"),
    _with_cookies("a=1", url=_HERE + "/dir/a", name="of the directory"),
    Behaviour(
        name="content once the cookie comes back",
        script=(moved("/a", "Set-Cookie: seen=1; Path=/"), _once_it_comes_back),
    ),
    Behaviour(
        name="a cookie that changes on the way",
        script=(
            moved("/b", "Set-Cookie: a=1"),
            moved("/c", "Set-Cookie: a=2"),
            moved("/d", "Set-Cookie: a=; Max-Age=0", "Set-Cookie: b=3"),
            whole(),
        ),
    ),
    Behaviour(
        name="cookies with an answer that passes",
        script=(whole("Set-Cookie: a=1", status="503 Service Unavailable", body=BODY), whole()),
        older="as the client does: another run knows none of the last one's cookies",
        unlike="cookies are of one chain of redirects",
        ours=BODY,
    ),
)
