"""Servers that lie, cut, flood and drip, each in a real sync: nothing wrong is kept.

Every case is a cache, or an origin, that misbehaves about one path. All are asked in one run, and
what that run left is looked at case by case: what was told, what was published, and what else was
touched. Stock Nix reads all that was published.
"""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import brotli  # type: ignore[import-untyped]  # it ships no types
import pytest
from rig.hostile import CacheCase, Place, file_nar
from rig.running import ScratchStore, run
from rig.servers import Reply
from rig.village import IMPATIENT, PRIVATE, Aftermath, Village

from mirror.formats.hashes import Hash
from mirror.formats.nar_strings import MAGIC, string, strings
from mirror.formats.path_info import PathInfo
from mirror.formats.signing import SecretKey, fingerprint
from mirror.formats.store_path import StorePath

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig.servers import Request


DAY = "86400"
GOAWAY = (
    b"\0\0\0\4\0\0\0\0\0"  # SETTINGS, empty
    b"\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\0"  # GOAWAY, no error
)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": zstd.compress,
    "bzip2": bz2.compress,
    "gzip": gzip.compress,
    "br": lambda data: brotli.compress(data, quality=1),
}
BOMB_SIZE = 16 << 20
LINK = strings("(", "type", "symlink", "target", "x", ")")


def serve(reply: Reply | Callable[[Place], Reply]) -> Callable[[Place], None]:
    """A cache that says the truth, and gives this instead of the NAR."""

    def make(place: Place) -> None:
        made = reply if isinstance(reply, Reply) else reply(place)
        place.gives(made)

    return make


def reply(**how: Any) -> Callable[[Place], None]:
    """A cache that says the truth, and gives the NAR in this manner."""
    return lambda place: place.gives(Reply(body=place.nar, **how))


def flipped(place: Place) -> None:
    wrong = bytearray(place.nar)
    wrong[len(wrong) // 2] ^= 1
    place.gives(Reply(body=bytes(wrong)))


def resumed(**how: Any) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        whole = Reply(body=place.nar, etag='"1"')
        place.gives(replace(whole, cut_after=100_000, **how), whole)

    return make


def moved_to(target: Callable[[Place], str]) -> Callable[[Place], None]:
    return lambda place: place.gives(Reply(status=302, headers={"Location": target(place)}))


def a_file(place: Place) -> str:
    """Exactly what is wanted, in a file of this machine."""
    file = place.directory / f"{place.name}.nar"
    file.write_bytes(place.nar)
    return file.as_uri()


def inside(place: Place) -> str:
    """Exactly what is wanted, on a server of the user's own network."""
    return place.inside.on(f"/{place.name}.nar", Reply(body=place.nar))


def at(url: Callable[[Place], str]) -> Callable[[Place], None]:
    """A narinfo that says that its NAR is elsewhere, where it is."""

    def make(place: Place) -> None:
        place.server.on(f"/outside/{place.name}.nar", Reply(body=place.nar))
        place.says(place.narinfo(url=url(place)))

    return make


def says(edit: Callable[[Place], bytes]) -> Callable[[Place], None]:
    """A narinfo that is not what it should be, of a NAR that is."""

    def make(place: Place) -> None:
        place.says(edit(place))
        place.on("nar/x.nar", Reply(body=place.nar))

    return make


def replaced(old: bytes, new: bytes) -> Callable[[Place], None]:
    return says(lambda place: place.narinfo().replace(old, new))


def signed(*lines: Callable[[Place], str]) -> Callable[[Place], None]:
    """A narinfo with these signatures, of a NAR that is what it should be."""
    return says(lambda place: place.narinfo(signatures=tuple(line(place) for line in lines)))


def good(place: Place) -> str:
    assert place.path is not None
    info = PathInfo(path=place.path, nar_hash=Hash.of(place.nar), nar_size=len(place.nar))
    return place.key.sign(fingerprint(info))


def of_another_path(place: Place) -> str:
    other = StorePath.from_base_name("0" * 32 + "-other")
    info = PathInfo(path=other, nar_hash=Hash.of(place.nar), nar_size=len(place.nar))
    return place.key.sign(fingerprint(info))


def by_another_key(place: Place) -> str:
    """A signature by a key that only has the trusted one's name."""
    assert place.path is not None
    info = PathInfo(path=place.path, nar_hash=Hash.of(place.nar), nar_size=len(place.nar))
    return SecretKey.generate(place.key.name).sign(fingerprint(info))


def packed(*body: bytes) -> Callable[[Place], None]:
    """A cache that has signed something that is no NAR."""
    return lambda place: place.packs(MAGIC + b"".join(body))


def directory(*names: bytes, node: bytes = LINK) -> bytes:
    entries = (
        strings("entry", "(", "name") + string(name) + strings("node") + node + strings(")")
        for name in names
    )
    return strings("(", "type", "directory") + b"".join(entries) + strings(")")


def nested(depth: int) -> bytes:
    node = LINK
    for _ in range(depth - 1):
        node = directory(b"d", node=node)
    return node


def bomb(method: str, *, says_its_size: bool) -> Callable[[Place], None]:
    """A small file that is a large one once uncompressed, and said to be a small one."""

    def make(place: Place) -> None:
        data = COMPRESSORS[method](file_nar(bytes(BOMB_SIZE)))
        size = len(data) if says_its_size else None
        place.says(place.narinfo(compression=method, file_size=size))
        place.on("nar/x.nar", Reply(body=data))

    return make


def encoded(place: Place) -> None:
    """Everything in gzip, which nobody asked for."""
    headers = {"Content-Encoding": "gzip"}
    place.says(Reply(body=gzip.compress(place.narinfo()), headers=headers))
    place.on("nar/x.nar", Reply(body=gzip.compress(place.nar), headers=headers))


def encoded_bomb(place: Place) -> None:
    data = gzip.compress(bytes(BOMB_SIZE))
    place.gives(Reply(body=data, headers={"Content-Encoding": "gzip"}))


def raw(head: str, body: bytes = b"") -> Callable[[Place], None]:
    text = "HTTP/1.1 " + head.replace("\n", "\r\n") + "\r\n\r\n"
    return serve(Reply(raw=text.encode() + body))


CACHES = [
    CacheCase(name="wrong-bytes", serve=flipped, said="NAR hash mismatch: expected sha256-"),
    CacheCase(name="reset-at-the-end", serve=reply(reset=True), said="", arrives=True),
    CacheCase(name="reset", serve=reply(cut_after=99_999, reset=True), said="cut short"),
    CacheCase(name="reset-once", serve=resumed(reset=True), said="", arrives=True),
    CacheCase(name="cut", serve=reply(cut_after=99_999), said="cut short"),
    CacheCase(name="cut-once", serve=resumed(), said="", arrives=True),
    CacheCase(
        name="cut-without-a-length",
        serve=reply(cut_after=99_999, length=False),
        said="cut short after 99999 bytes of",
    ),
    CacheCase(
        name="endless-narinfo",
        serve=lambda place: place.says(Reply(body=b"X: y\n" * 9999, length=False, endless=True)),
        said="larger than the 16777216 bytes",
    ),
    CacheCase(
        name="endless-nar", serve=reply(length=False, endless=True), said="more than the .* bytes"
    ),
    CacheCase(
        name="circle-of-redirects",
        serve=moved_to(lambda place: f"{place.url}/nar/x.nar"),
        said="more than 20 redirects",
    ),
    CacheCase(
        name="circle-for-the-narinfo",
        serve=lambda place: place.says(Reply(status=301, headers={"Location": "?again"})),
        said="more than 20 redirects",
    ),
    CacheCase(name="redirect-to-a-file", serve=moved_to(a_file), said="redirected to file:"),
    CacheCase(
        name="redirect-inside",
        serve=moved_to(inside),
        said="not followed .* into a private network",
    ),
    CacheCase(
        name="narinfo-inside",
        serve=lambda place: place.says(
            Reply(status=307, headers={"Location": f"http://{PRIVATE}:1/admin?reboot"})
        ),
        said="not followed .* into a private network",
    ),
    CacheCase(
        name="file-of-an-exabyte",
        serve=says(lambda place: place.narinfo(file_size=10**18)),
        said="",
        arrives=True,
    ),
    CacheCase(name="trickle", serve=reply(piece=10, pause=0.1), said="Less than 1000 bytes/sec"),
    CacheCase(
        name="endless-chunk-extension",
        serve=serve(Reply(raw=CHUNKED + b"5;", body=b"x" * 99, endless=True, pause=0.05)),
        said="Less than 1000 bytes/sec",
    ),
    CacheCase(name="silence", serve=reply(hang=True), said="timed out"),
    *(
        CacheCase(
            name=f"bomb-{method}{'' if says_its_size else '-of-any-size'}",
            serve=bomb(method, says_its_size=says_its_size),
            said="the NAR is longer than",
        )
        for method in COMPRESSORS
        for says_its_size in (True, False)
    ),
    CacheCase(
        name="narinfo-of-another",
        serve=says(lambda place: place.narinfo(path=StorePath.from_base_name("0" * 32 + "-other"))),
        said="it is for /nix/store/0+-other, not /nix/store/",
    ),
    CacheCase(
        name="url-above",
        serve=at(lambda place: f"../outside/{place.name}.nar"),
        said="",
        arrives=True,
    ),
    CacheCase(
        name="url-far-above",
        serve=at(lambda place: f"nar/../../../../outside/{place.name}.nar"),
        said="",
        arrives=True,
    ),
    CacheCase(name="url-of-a-file", serve=at(a_file), said="outside of the cache"),
    CacheCase(name="url-of-another-host", serve=at(inside), said="outside of the cache"),
    CacheCase(
        name="url-without-a-scheme",
        serve=at(lambda place: inside(place).removeprefix("http:")),
        said="outside of the cache",
    ),
    CacheCase(
        name="unknown-compression",
        serve=replaced(b"Compression: none", b"Compression: lzma9"),
        said="Compression 'lzma9' is unknown",
    ),
    CacheCase(
        name="unknown-hash", serve=replaced(b"NarHash: sha256", b"NarHash: sha0"), said="sha0"
    ),
    CacheCase(
        name="wrong-file-size",
        serve=says(lambda place: place.narinfo(file_size=10)),
        said="",
        arrives=True,
    ),
    CacheCase(
        name="huge-nar-size",
        serve=replaced(b"NarSize: ", b"NarSize: 9999999999999999999"),
        said="NarSize is not a size",
    ),
    CacheCase(
        name="signed-for-another", serve=signed(of_another_path), said="none of the trusted keys"
    ),
    CacheCase(
        name="signed-by-a-namesake", serve=signed(by_another_key), said="none of the trusted keys"
    ),
    CacheCase(
        name="signed-twice-wrongly",
        serve=signed(of_another_path, by_another_key),
        said="none of the trusted keys",
    ),
    CacheCase(
        name="signed-wrongly-and-well",
        serve=signed(by_another_key, of_another_path, good),
        said="",
        arrives=True,
    ),
    CacheCase(
        name="signed-malformed-and-well",
        serve=signed(lambda _: "hostile-1:!!!", lambda _: "no colon", lambda _: ":", good),
        said="",
        arrives=True,
    ),
    *(
        CacheCase(name=name, serve=signed(line), said="none of the trusted keys")
        for name, line in {
            "signed-not-base64": lambda place: good(place).replace("=", "*"),
            "signed-too-short": lambda place: good(place)[:-8],
            "signed-too-long": lambda place: good(place).removesuffix("==") + "AAAA",
            "signed-by-two-names": lambda place: f"other:{good(place)}",
            "signed-by-a-spaced-name": lambda place: f" {good(place)}",
            "signed-by-an-escape": lambda place: f"\x1b[2J{good(place)}",
            "signed-by-no-name": lambda place: good(place).removeprefix(place.key.name),
        }.items()
    ),
    CacheCase(
        name="unsigned", serve=says(lambda place: place.narinfo(signatures=())), said="no signature"
    ),
    *(
        CacheCase(name=f"nar-{name}", serve=packed(directory(*names)), said=said)
        for name, names, said in (
            ("dots", (b"..",), r"an entry is called '\.\.'"),
            ("dot", (b".",), r"an entry is called '\.'"),
            ("slash", (b"a/../../b",), "an entry is called"),
            ("absolute", (b"/etc",), "an entry is called '/etc'"),
            ("nameless", (b"",), "an entry is called ''"),
            ("nul", (b"a\0b",), "an entry is called"),
            ("twice", (b"a", b"a"), "entry 'a' after 'a'"),
            ("escape", (b"\x1b[2J\x07",) * 2, r"entry '\\x1b\[2J\\x07' after"),
            ("unsorted", (b"b", b"a"), "entry 'a' after 'b'"),
            ("long-name", (b"n" * 256,), "a name of 256 bytes; 255 are allowed"),
        )
    ),
    CacheCase(name="nar-deep", serve=packed(nested(65)), said="nested deeper than 64"),
    CacheCase(
        name="nar-long-target",
        serve=packed(strings("(", "type", "symlink", "target", "t" * 4096, ")")),
        said="a link's target of 4096 bytes",
    ),
    CacheCase(name="nar-and-more", serve=packed(LINK, b"more"), said="something follows its end"),
    CacheCase(name="nar-cut", serve=packed(LINK[:-8]), said="cut short"),
    CacheCase(
        name="nar-lying-length",
        serve=packed(strings("(", "type", "regular", "contents"), b"\xff" * 8),
        said="cut short",
    ),
    # Two names on Linux, one on some other systems: there Nix itself keeps them apart.
    CacheCase(name="nar-case", serve=packed(directory(b"A", b"a")), said="", arrives=True),
    CacheCase(
        name="nar-case-hack",
        serve=packed(directory(b"a", b"a~nix~case~hack~1")),
        said="",
        arrives=True,
    ),
    CacheCase(name="nar-deep-enough", serve=packed(nested(64)), said="", arrives=True),
    CacheCase(name="gzip-unasked", serve=encoded, said="", arrives=True),
    CacheCase(name="gzip-bomb", serve=encoded_bomb, said="larger than the 403162 bytes"),
    CacheCase(
        name="unknown-encoding",
        serve=reply(headers={"Content-Encoding": "rot13"}),
        said="unknown Content-Encoding rot13",
    ),
    CacheCase(
        name="late-tomorrow",
        serve=reply(status=429, headers={"Retry-After": DAY}),
        said="HTTP 429 .* it asks to wait 86400 s, longer than the 120 s that a run waits",
    ),
    CacheCase(
        name="late-on-a-date",
        serve=reply(status=503, headers={"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}),
        said="HTTP 503 .* it asks to wait",
    ),
    CacheCase(name="part-unasked", serve=reply(status=206), said="a part that was not requested"),
    CacheCase(name="unchanged-unasked", serve=serve(Reply(status=304)), said="HTTP 304"),
    CacheCase(
        name="many-headers",
        serve=raw("200 OK\n" + "X: y\n" * 9999),
        said="Too many response headers",
    ),
    CacheCase(
        name="long-header",
        serve=raw("200 OK\nX: " + "y" * 199_999),
        said="(?i)too large|header",
    ),
    CacheCase(
        name="huge-length",
        serve=raw(f"200 OK\nContent-Length: {10**18}"),
        said=f"{10**18} bytes where",
    ),
    CacheCase(
        name="absurd-length",
        serve=raw("200 OK\nContent-Length: " + "9" * 5000),
        said="cut short after 0 bytes",
    ),
    CacheCase(
        name="negative-length",
        serve=raw("200 OK\nContent-Length: -1"),
        said="Invalid Content-Length",
    ),
    CacheCase(
        name="two-lengths",
        serve=raw("200 OK\nContent-Length: 5\nContent-Length: 6", b"hello!"),
        said="Invalid Content-Length",
    ),
    CacheCase(
        name="length-and-chunks",
        serve=raw(
            "200 OK\nContent-Length: 5\nTransfer-Encoding: chunked", b"3\r\nhel\r\n0\r\n\r\nhello"
        ),
        said="cut short after 3 bytes",
    ),
    CacheCase(name="http-2", serve=serve(Reply(raw=GOAWAY)), said="Invalid status line|not HTTP"),
    CacheCase(
        name="upgrade-to-http-2",
        serve=raw("101 Switching Protocols\nConnection: Upgrade\nUpgrade: h2c", GOAWAY),
        said="HTTP 101",
    ),
]


@pytest.fixture(scope="module")
def aftermath(village: Village) -> Aftermath:
    return village.run(CACHES)


@pytest.mark.parametrize("case", CACHES, ids=lambda case: case.name)
def test_nothing_wrong_is_published_and_the_server_is_named(
    aftermath: Aftermath, case: CacheCase
) -> None:
    aftermath.check(case)


@pytest.mark.parametrize("nix", ["nix_stable", "nix_newest"])
def test_nothing_else_is_touched_and_nix_reads_what_was_published(
    aftermath: Aftermath, village: Village, request: pytest.FixtureRequest, nix: str
) -> None:
    village.check(aftermath, CACHES, request.getfixturevalue(nix))


def test_a_store_takes_nothing_of_it_either(village: Village, elsewhere: ScratchStore) -> None:
    cases = [case for case in CACHES if case.name.startswith(("nar-", "bomb-", "wrong-"))]
    aftermath = village.run(cases, to=elsewhere)
    assert aftermath.synced is not None
    stored = {each.path for each in aftermath.synced.outcomes if each.result == "stored"}
    for case in cases:
        assert (aftermath.places[case.name].path in stored) == case.arrives
        assert re.search(case.said, aftermath.told_of(case.name))
    valid = run(village.nix, "nix", "path-info", "--all", store=elsewhere).stdout.split()
    wrong = {aftermath.places[case.name].path for case in cases if not case.arrives}
    assert stored <= set(valid)
    assert not wrong & set(valid)
    assert not [path for path in wrong if path and elsewhere.real(path).exists()]
    run(village.nix, "nix-store", "--verify", "--check-contents", store=elsewhere)


UNANSWERED = {
    "silent": (Reply(hang_first=True), "timed out"),
    "interim-answers": (
        Reply(
            raw=b"", body=b"HTTP/1.1 103 Early Hints\r\n\r\n", endless=True, piece=99, pause=0.05
        ),
        "timed out after 20[0-9]* milliseconds",
    ),
    "tomorrow": (
        Reply(status=429, headers={"Retry-After": DAY}),
        "it asks to wait 86400 s, longer than the 120 s that a run waits",
    ),
    "no-http": (Reply(raw=GOAWAY), "that is not HTTP: "),
    "hangs-up": (Reply(raw=b""), "the connection was closed without an answer"),
}


@pytest.mark.parametrize("name", UNANSWERED)
def test_where_a_cache_does_not_say_what_it_has_nothing_is_planned(
    village: Village, name: str
) -> None:
    reply, said = UNANSWERED[name]
    case = CacheCase(name=name, serve=lambda place: place.says(reply), said=said)
    patience = replace(IMPATIENT, answer_seconds=2)
    aftermath = village.run([case], http=patience)
    assert aftermath.synced is None
    assert not aftermath.published
    assert f"nothing is planned: {aftermath.places[name].url}/" in aftermath.said
    assert re.search(said, aftermath.said), aftermath.said
    aftermath.check_surroundings()


def test_connections_that_end_now_and_then_cost_nothing(village: Village) -> None:
    count = itertools.count(1)

    def fault(_: Request, reply: Reply) -> Reply:
        """As nginx after so many requests, but the second time it is not said before."""
        match next(count) % 10:
            case 0:
                return replace(reply, headers={**reply.headers, "Connection": "close"}, close=True)
            case 5:
                return replace(reply, close=True)
            case _:
                return reply

    cases = [CacheCase(name=f"honest-{n}", serve=reply(), said="", arrives=True) for n in range(12)]
    aftermath = village.run(cases, fault=fault)
    for case in cases:
        aftermath.check(case)
        assert not aftermath.told_of(case.name)
