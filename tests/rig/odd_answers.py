"""What a binary cache may answer besides: as proxies, half-broken servers and odd ones do."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from rig.cache_answers import CACHE_INFO, COMPRESSORS, Answers, Asked, text
from rig.servers import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OLD: Final = "2.8"
NEW: Final = "newest"

_NOT_SAID: Final = "nobody asked for a part of it"
_FOLLOWING: Final = "Nix does not look at what follows the NAR; nobody vouches for it"
_DETECTED: Final = "2.8 looks what the file is; newer ones refuse what is not as the narinfo says"
_ELSEWHERE: Final = "a narinfo could make its reader ask any host of its own network"


def says(**changes: str) -> Callable[[Asked], None]:
    """A narinfo with these fields; the NAR is as it should be."""

    def give(asked: Asked) -> None:
        asked.says({**asked.lines("xz"), **changes})
        asked.gives(asked.packed("xz"))

    return give


def at(url: Callable[[Asked], str], file: str) -> Callable[[Asked], None]:
    """A NAR that is said to be at ``url``, and is what the server has as ``file`` of the cache."""

    def give(asked: Asked) -> None:
        asked.says(asked.lines(url=url(asked)))
        asked.on(file, asked.nar)

    return give


def at_another_server(asked: Asked) -> None:
    asked.says(asked.lines(url=asked.elsewhere.on(f"/{asked.name}.nar", Reply(body=asked.nar))))


def narinfo(reply: Callable[[bytes], Reply]) -> Callable[[Asked], None]:
    """The right narinfo in another manner."""

    def give(asked: Asked) -> None:
        asked.has()
        asked.says(reply(text(asked.lines())))

    return give


def file(reply: Callable[[bytes], Reply | bytes], method: str = "none") -> Callable[[Asked], None]:
    """The right NAR in another manner."""

    def give(asked: Asked) -> None:
        asked.has(method)
        asked.gives(reply(asked.packed(method)))

    return give


def packed_otherwise(said: str, method: str) -> Callable[[Asked], None]:
    """A NAR that is not compressed as the narinfo says."""

    def give(asked: Asked) -> None:
        asked.has(said)
        asked.gives(asked.packed(method))

    return give


def status(code: int) -> Callable[[bytes], Reply]:
    """A page, with this status."""
    return lambda _: Reply(status=code, body=b"<html>\n")


def whole(code: int) -> Callable[[bytes], Reply]:
    """All of it, with this status."""
    return lambda data: Reply(status=code, body=data)


def encoded(encoding: str, method: str) -> Callable[[bytes], Reply]:
    return lambda data: labelled(encoding)(COMPRESSORS[method](data))


def labelled(encoding: str) -> Callable[[bytes], Reply]:
    """What it is, with this Content-Encoding."""
    return lambda data: Reply(body=data, headers={"Content-Encoding": encoding})


def without_length(data: bytes) -> Reply:
    return Reply(body=data, length=False)


def login_page(asked: Asked) -> None:
    """A network that asks for a password first."""
    page = asked.elsewhere.on("/login", Reply(body=b"<html>\n<a href='http://x'>Welcome</a>\n"))
    asked.says(Reply(status=302, headers={"Location": page}))


STATUSES: Final = [
    *(Answers(name=f"narinfo-{n}", give=narinfo(status(n))) for n in (200, 204, 403, 404, 410)),
    *(
        Answers(name=f"narinfo-{n}", give=narinfo(status(n)), alone=True)
        for n in (400, 401, 500, 503, 511)
    ),
    *(
        Answers(name=f"whole-{n}", give=narinfo(whole(n)), unlike=unlike)
        for n, unlike in ((201, {}), (206, {OLD: _NOT_SAID, NEW: _NOT_SAID}))
    ),
    *(Answers(name=f"nar-{n}", give=file(status(n))) for n in (200, 204, 403, 404, 410)),
    *(Answers(name=f"nar-{n}", give=file(status(n)), alone=True) for n in (400, 401, 500)),
    Answers(name="login-page", give=login_page),
    Answers(name="narinfo-empty", give=narinfo(lambda _: Reply())),
    Answers(name="narinfo-without-length", give=narinfo(without_length)),
    Answers(name="nar-without-length", give=file(without_length, "zstd")),
]
CONTENTS: Final = [
    Answers(
        name="nar-and-more",
        give=file(lambda data: data + b"more"),
        unlike={OLD: _FOLLOWING, NEW: _FOLLOWING},
    ),
    Answers(name="nar-cut", give=file(lambda data: data[:-8])),
    *(
        Answers(name=f"cut-{method}", give=file(lambda data: data[:-8], method))
        for method in ("xz", "zstd", "bzip2", "gzip")  # the newest Nix never ends at a cut br
    ),
    Answers(name="gzip-for-xz", give=packed_otherwise("xz", "gzip"), unlike={OLD: _DETECTED}),
    Answers(name="none-for-xz", give=packed_otherwise("xz", "none")),
    Answers(name="xz-for-none", give=packed_otherwise("none", "xz")),
    *(
        Answers(name=f"encoded-{encoding}", give=file(encoded(encoding, method)))
        for encoding, method in {
            "gzip": "gzip",
            "x-gzip": "gzip",
            "zstd": "zstd",
            "br": "br",
        }.items()
    ),
    *(
        Answers(
            name=f"encoded-{encoding}",
            give=file(encoded(encoding, "xz")),
            alone=True,
            unlike={NEW: "an old Nix could store it so, and reads it"},
        )
        for encoding in ("xz", "x-xz")
    ),
    Answers(
        name="encoded-identity",
        give=file(labelled("identity")),
        alone=True,
        unlike={OLD: "2.8 crashes"},
    ),
    Answers(name="encoded-rot13", give=file(labelled("rot13")), alone=True),
    Answers(
        name="encoded-deflate",
        give=file(lambda data: labelled("deflate")(zlib.compress(data))),
        alone=True,
        unlike={NEW: "nobody asked for it, and no server is known that sends it unasked"},
    ),
    # As a web server labels a file that is called so.
    Answers(name="labelled-gzip", give=file(labelled("gzip"), "gzip")),
]
LOCATIONS: Final = [
    Answers(name="url-above", give=at(lambda _: "../above.nar", "../above.nar")),
    Answers(name="url-with-a-query", give=at(lambda _: "nar/q.nar?a=b&c=%2F", "nar/q.nar")),
    Answers(name="url-escaped", give=at(lambda _: "nar/a%20b%2Bc.nar", "nar/a%20b%2Bc.nar")),
    Answers(name="url-absolute", give=at(lambda asked: asked.url("abs.nar"), "abs.nar")),
    Answers(
        name="url-from-the-root",
        give=at(lambda _: "/root.nar", "../root.nar"),
        unlike={OLD: "2.8 puts the cache's URL before it"},
    ),
    Answers(name="url-deep", give=at(lambda _: "a/./b/../c.nar", "a/c.nar")),
    Answers(
        name="url-elsewhere",
        give=at_another_server,
        unlike={OLD: _ELSEWHERE, NEW: _ELSEWHERE},
    ),
    Answers(
        name="url-spaced",
        give=at(lambda _: "nar/s s.nar", "nar/s%20s.nar"),
        alone=True,
    ),
    Answers(name="url-missing", give=says(URL="")),
]
_INFOS: Final[Mapping[str, Reply | bytes]] = {
    # Nix tries to put one there, with a body that the server does not read.
    "missing": Reply(status=404, close=True),
    "forbidden": Reply(status=403, close=True),
    "broken": Reply(status=500),
    "page": b"<html>\n<a href='http://x'>\n",
    "none": Reply(status=204),
    "empty": b"",
    "crlf": CACHE_INFO.replace(b"\n", b"\r\n"),
    "another-store": b"StoreDir: /gnu/store\n",
    "two-stores": b"StoreDir: /gnu/store\nStoreDir: /nix/store\n",
    "odd-priority": b"Priority: 7th\nStoreDir:/nix/store",
    "binary": b"\xff\xfe: \xff\n" + CACHE_INFO,
}
INFOS: Final = [
    Answers(
        name=f"info-{name}",
        give=Asked.has,
        alone=name == "broken",
        info=info,
    )
    for name, info in _INFOS.items()
]
