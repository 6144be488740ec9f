"""Credentials: of URLs and of netrc files, and which redirects they go along with."""

from __future__ import annotations

from typing import Final

from rig.manners.behaviour import BODY, START, Behaviour, moved, whole

_AUTHORITY: Final = "127.0.0.1:{port}"
_EMPTY: Final = "sends credentials that are empty"
_OURS: Final = "machine 127.0.0.1 login me password secret\n"


def _with_netrc(name: str, netrc: str, *, older: str | None = None) -> Behaviour:
    """A netrc file: both send the same of it, which may be nothing."""
    return Behaviour(name=f"netrc: {name}", script=(whole(),), netrc=netrc, older=older)


def _in_the_url(
    name: str, user: str, *, given: bytes | None = BODY, older: str | None = None
) -> Behaviour:
    return Behaviour(
        name=f"in the URL: {name}",
        script=(whole(),),
        given=given,
        older=older,
        url=f"http://{user}@{_AUTHORITY}/a",
    )


def _along(name: str, location: str, *, netrc: str | None = _OURS, url: str = START) -> Behaviour:
    """A redirect: both send the same credentials with the next request, or none."""
    return Behaviour(
        name=f"along with a redirect: {name}",
        script=(moved(location), whole()),
        netrc=netrc,
        url=url,
    )


def _to_itself(name: str, *, netrc: str | None, older: str | None = None) -> Behaviour:
    """A redirect by name to the same host, asked with credentials in the URL."""
    return Behaviour(
        name=f"along with a redirect: {name}",
        script=(moved("http://127.0.0.1:{port}/b"), whole()),
        netrc=netrc,
        url=f"http://you:yours@{_AUTHORITY}/a",
        older=older,
        unlike="what the URL has is the host's, however a redirect names it",
        ours=BODY,
    )


BEHAVIOURS: Final = (
    _with_netrc("one entry", _OURS),
    _with_netrc("on lines of their own", "machine 127.0.0.1\n  login me\n  password secret\n"),
    _with_netrc(
        "tabs and carriage returns", "machine\t127.0.0.1\r\nlogin me\r\npassword secret\r\n"
    ),
    _with_netrc("no line feed at its end", _OURS.rstrip()),
    _with_netrc("empty", ""),
    _with_netrc("of another host", "machine example.org login me password secret\n"),
    _with_netrc("of a host that begins so", "machine 127.0.0.1.example login me password secret\n"),
    _with_netrc("the second of several", "machine a login b password c\n" + _OURS),
    _with_netrc("two of one host", _OURS + "machine 127.0.0.1 login other password two\n"),
    _with_netrc("the default", "machine a login b password c\ndefault login me password secret\n"),
    _with_netrc("a default before it", "default login b password c\n" + _OURS),
    _with_netrc("a default after it", _OURS + "default login b password c\n"),
    _with_netrc("a backslash in a password", "machine 127.0.0.1 login me password a\\b\\\\c\n"),
    _with_netrc("quotes", 'machine 127.0.0.1 login "my self" password "a \\"b\\" \\\\ c"\n'),
    _with_netrc("a quote within a word", "machine 127.0.0.1 login me password a\"b'c\n"),
    _with_netrc("a number sign in a password", "machine 127.0.0.1 login me password a#b\n"),
    _with_netrc(
        "a number sign at its beginning",
        "machine 127.0.0.1 login me password #b\n",
        older="takes it for a comment",
    ),
    _with_netrc("comments", "# of mine\n" + _OURS + "# machine 127.0.0.1 login x password y\n"),
    _with_netrc("letters beyond ASCII", "machine 127.0.0.1 login m\xe9 password p\xe4ss\n"),
    _with_netrc("an unknown word", "machine 127.0.0.1 port 80 login me password secret\n"),
    _with_netrc("an unknown word at its beginning", "hello\n" + _OURS),
    _with_netrc("an account", "machine 127.0.0.1 login me account us password secret\n"),
    _with_netrc(
        "a macro", "macdef init\ncd /pub\nmachine 127.0.0.1 login x password y\n\n" + _OURS
    ),
    _with_netrc("a macro after it", _OURS + "macdef init\ncd /pub\n\n"),
    _with_netrc("no login", "machine 127.0.0.1 password secret\n"),
    _with_netrc("no password", "machine 127.0.0.1 login me\n"),
    _with_netrc("the password first", "machine 127.0.0.1 password secret login me\n"),
    _with_netrc("words in capitals", "MACHINE 127.0.0.1 LOGIN me PASSWORD secret\n"),
    _with_netrc("a long password", f"machine 127.0.0.1 login me password {'x' * 3000}\n"),
    _with_netrc("a name without its host", "machine\n"),
    _with_netrc("a colon in a name", "machine 127.0.0.1 login me:too password secret\n"),
    Behaviour(
        name="netrc: a host in other letters",
        script=(whole(),),
        url="http://LocalHost:{port}/a",
        netrc="machine localHOST login me password secret\n",
    ),
    Behaviour(
        name="netrc: credentials in the URL as well",
        script=(whole(),),
        url=f"http://you:yours@{_AUTHORITY}/a",
        netrc=_OURS,
    ),
    Behaviour(
        name="netrc: the name of another in the URL",
        script=(whole(),),
        url=f"http://you@{_AUTHORITY}/a",
        netrc=_OURS,
        older="takes another's password",
    ),
    Behaviour(
        name="netrc: the name of one of two in the URL",
        script=(whole(),),
        url=f"http://other@{_AUTHORITY}/a",
        netrc=_OURS + "machine 127.0.0.1 login other password two\n",
    ),
    _in_the_url("a name and a password", "me:secret"),
    _in_the_url("a name", "me"),
    _in_the_url("a name and no password", "me:"),
    _in_the_url("a password", ":secret"),
    _in_the_url("nothing", "", older=_EMPTY),
    _in_the_url("a colon", ":", older=_EMPTY),
    _in_the_url("escapes", "m%40e:se%3Acr%2Fet%25"),
    _in_the_url("escapes beyond ASCII", "m%C3%A9:p%E4ss"),
    _in_the_url("a colon in a password", "me:a:b"),
    _in_the_url("an at sign in a password", "me:a@b", given=None),
    _along("the same host", "/b"),
    _along("the same host by its name", "http://127.0.0.1:{port}/b"),
    _along("another port", "http://127.0.0.1:{other}/b"),
    _along("another host", "http://localhost:{port}/b"),
    _along(
        "another host that has an entry",
        "http://localhost:{port}/b",
        netrc=_OURS + "machine localhost login other password two\n",
    ),
    _along(
        "a host that has an entry, from one without",
        "http://127.0.0.1:{port}/b",
        url="http://localhost:{port}/a",
    ),
    _along("the same host, from the URL", "/b", netrc=None, url=f"http://me:secret@{_AUTHORITY}/a"),
    _to_itself(
        "the same host by its name, from the URL",
        netrc=None,
        older="does as the client does, where nothing else is known of the host",
    ),
    _to_itself("the same host by its name, from the URL beside an entry", netrc=_OURS),
    _along(
        "another port, from the URL",
        "http://127.0.0.1:{other}/b",
        netrc=None,
        url=f"http://me:secret@{_AUTHORITY}/a",
    ),
    _along(
        "another host, from the URL",
        "http://localhost:{port}/b",
        netrc=None,
        url=f"http://me:secret@{_AUTHORITY}/a",
    ),
    _along("credentials in the Location", f"http://you:yours@{_AUTHORITY}/b", netrc=None),
    _along("credentials in the Location beside an entry", f"http://you:yours@{_AUTHORITY}/b"),
    Behaviour(
        name="along with redirects: to another host and back",
        script=(
            moved("http://localhost:{port}/b"),
            moved("http://127.0.0.1:{port}/c"),
            whole(),
        ),
        netrc=_OURS,
    ),
    Behaviour(
        name="along with redirects: to another port and back, from the URL",
        script=(
            moved("http://127.0.0.1:{other}/b"),
            moved("http://127.0.0.1:{port}/c"),
            whole(),
        ),
        url=f"http://me:secret@{_AUTHORITY}/a",
    ),
    Behaviour(
        name="401 that names a way",
        script=(whole('WWW-Authenticate: Basic realm="x"', status="401 Unauthorized"),),
        given=None,
    ),
    Behaviour(
        name="401 in spite of credentials",
        script=(whole('WWW-Authenticate: Basic realm="x"', status="401 Unauthorized"),),
        given=None,
        netrc=_OURS,
    ),
    Behaviour(
        name="401 that names Digest",
        script=(
            whole(
                'WWW-Authenticate: Digest realm="x", nonce="y", qop="auth"',
                status="401 Unauthorized",
            ),
        ),
        given=None,
        netrc=_OURS,
    ),
)
