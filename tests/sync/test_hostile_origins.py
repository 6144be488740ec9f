"""Origins that lie, and archives and repositories that are meant badly, in a real sync.

As for caches (:mod:`test_hostile_servers`), every case is one of many in a run. An archive is never
unpacked into the file system, so what would climb out of it has nowhere to go; it is refused all
the same, since whoever unpacks it otherwise may be less careful.
"""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from rig.hostile import FETCHZIP, OriginCase, Place
from rig.servers import Reply

from mirror.formats import nar
from mirror.formats.hashes import Hash
from mirror.formats.nar_strings import MAGIC, string, strings
from mirror.sources.archives.tree import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig.village import Aftermath, Village


LIMITS = Limits(entries=1000, size=32 << 20, growth=100, harmless=8 << 20)
RIGHT = b"what it should be"
Members = tuple[tuple[tarfile.TarInfo, bytes], ...]


def gives(body: bytes, **how: object) -> Callable[[Place], object]:
    reply = Reply(body=body, **how)  # type: ignore[arg-type] # a table of arguments
    return lambda place: place.on("download", reply)


def moved(to: Callable[[Place], str]) -> Callable[[Place], object]:
    return lambda place: place.on("download", Reply(status=302, headers={"Location": to(place)}))


def a_file(place: Place) -> str:
    file = place.directory / place.name
    file.write_bytes(RIGHT)
    return file.as_uri()


PLAIN = [
    OriginCase(name="wrong", serve=gives(b"x" * len(RIGHT)), said="expected sha256-.*, got sha256"),
    OriginCase(name="cut", serve=gives(RIGHT, cut_after=9), said="cut short"),
    OriginCase(
        name="cut-without-a-length",
        serve=gives(RIGHT, cut_after=9, length=False),
        said="expected sha256-.*, got sha256",
    ),
    OriginCase(name="reset", serve=gives(RIGHT, cut_after=9, reset=True), said="cut short"),
    OriginCase(
        name="endless",
        serve=gives(bytes(1 << 20), length=False, endless=True),
        said=f"more than the {LIMITS.size} bytes it may have",
    ),
    OriginCase(
        name="circle", serve=moved(lambda place: f"{place.url}/download"), said="20 redirects"
    ),
    OriginCase(name="to-a-file", serve=moved(a_file), said="redirected to file:"),
    OriginCase(
        name="inside",
        serve=moved(lambda place: place.inside.on("/inside", Reply(body=RIGHT))),
        said="not followed .* into a private network",
    ),
    OriginCase(
        name="to-metadata",
        serve=moved(lambda _: "http://169.254.169.254/latest/meta-data/"),
        said="not followed .* into a private network",
    ),
    OriginCase(
        name="bomb", serve=gives(gzip.compress(bytes(64 << 20))), said="expected sha256-.*, got"
    ),
    OriginCase(
        name="honest", serve=gives(RIGHT), said="", arrives=True, hash=Hash.of(RIGHT).base16
    ),
    *(
        OriginCase(
            name=f"nar-{name}",
            serve=gives(MAGIC + body),
            said=said,
            mode="recursive",
            # The hash is right: what it is the hash of is no NAR that Nix would restore.
            hash=Hash.of(MAGIC + body).base16,
            builder="builtin:fetchurl",
            attributes='url = "{url}"; unpack = "1";',
        )
        for name, body, said in (
            (
                "climbs",
                strings("(", "type", "directory", "entry", "(", "name", "..", "node")
                + strings("(", "type", "symlink", "target", "x", ")", ")", ")"),
                r"an entry is called '\.\.'",
            ),
            ("is-none", b"nonsense" * 9, "expected"),
            (
                "never-ends",
                strings("(", "type", "regular", "contents") + b"\xff" * 8 + string(b"x"),
                "cut short",
            ),
        )
    ),
]


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for info, body in members:
            archive.addfile(info, io.BytesIO(body))
    return packed.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", body: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(body)
    return info, body


def record(key: str, value: str) -> bytes:
    """A record of a pax header: its own length, in decimal, comes first."""
    rest = f" {key}={value}\n".encode()
    length = len(rest)
    while length < len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def header(kind: bytes, body: bytes) -> bytes:
    """An extended header, which is about the entry that follows it."""
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, len(body)
    return info.tobuf(tarfile.GNU_FORMAT) + body + bytes(-len(body) % tarfile.BLOCKSIZE)


def sparse(*parts: tuple[int, int], size: int, stored: bytes = b"") -> bytes:
    """A sparse file, as GNU tar writes them in pax archives."""
    numbers = [len(parts), *(number for part in parts for number in part)]
    body = b"".join(b"%d\n" % number for number in numbers)
    body += bytes(-len(body) % tarfile.BLOCKSIZE) + stored
    about = {"major": 1, "minor": 0, "name": "holes", "realsize": size}
    records = b"".join(record(f"GNU.sparse.{key}", str(value)) for key, value in about.items())
    return header(tarfile.XHDTYPE, records) + tar(member("holes", body=body))


def pax(key: str, value: str, *members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return header(tarfile.XHDTYPE, record(key, value)) + tar(*(members or (member("x"),)))


DIRECTORY, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
TARS: dict[str, tuple[bytes, str]] = {
    "absolute": (tar(member("/etc/evil")), "an absolute name: /etc/evil"),
    "above": (tar(member("../evil")), r"a name that leaves it: \.\./evil"),
    "above-from-within": (tar(member("a/../../evil")), "a name that leaves it"),
    "above-by-pax": (pax("path", "../evil"), "a name that leaves it"),
    "absolute-by-a-long-name": (
        header(tarfile.GNUTYPE_LONGNAME, b"/etc/evil\0") + tar(member("x")),
        "an absolute name",
    ),
    "through-a-link": (
        tar(member("out", LINK, "/etc"), member("out/evil")),
        "out/evil is below something that is not a directory",
    ),
    "through-a-hard-link-to-a-link": (
        tar(member("out", LINK, ".."), member("too", HARD, "out"), member("too/evil")),
        "too/evil is below something",
    ),
    "hard-link-outside": (tar(member("x", HARD, "/etc/passwd")), "an absolute name: /etc/passwd"),
    "hard-link-above": (tar(member("x", HARD, "../../etc/passwd")), "a name that leaves it"),
    "hard-link-through-a-link": (
        tar(member("out", LINK, "/etc"), member("x", HARD, "out/passwd")),
        "out/passwd is below something",
    ),
    "hard-link-to-itself": (tar(member("x", HARD, "x")), "a link to x, which is not a file"),
    "device": (tar(member("null", tarfile.CHRTYPE)), "null is neither a file"),
    "disk": (tar(member("sda", tarfile.BLKTYPE)), "sda is neither a file"),
    "pipe": (tar(member("pipe", tarfile.FIFOTYPE)), "pipe is neither a file"),
    "entries": (tar(*(member(f"f{n}") for n in range(1001))), "more than 1000 entries"),
    "entries-above": (
        tar(*(member(f"{n}/{'a/' * 40}x") for n in range(30))),
        "more than 1000 entries",
    ),
    "deep": (tar(member("a/" * 65 + "x")), "nested deeper than 64"),
    "deep-by-pax": (pax("path", "a/" * 400_000), "nested deeper than 64"),
    "long-name": (tar(member("n" * 256)), "a name of 256 bytes; 255 are allowed"),
    "long-target": (tar(member("x", LINK, "t" * 4096)), "a link's target of 4096 bytes"),
    "long-header": (header(tarfile.GNUTYPE_LONGNAME, bytes(2 << 20)), "a header of 20"),
    "many-headers": (header(tarfile.XHDTYPE, record("a", "b")) * 20_000, "malformed|before an"),
    "many-digits": (pax("size", "9" * 900_000), "a number of hundreds of digits"),
    "no-size": (pax("size", "-5"), "malformed|cut short"),
    "size-beyond-the-end": (pax("size", str(1 << 62)), "more than|cut short"),
    "hole": (sparse((0, 1), size=1 << 60, stored=b"x"), "holds more than"),
    "part-beyond-the-end": (
        sparse((1 << 62, 1), size=9, stored=b"x"),
        "its parts are not in order",
    ),
    "parts-overlap": (sparse((0, 5), (2, 5), size=9, stored=bytes(10)), "its parts are not in"),
    "part-negative": (sparse((0, -5), (0, 5), size=9), "its parts are not in order"),
    "parts": (
        sparse(*((n, 1) for n in range(2000)), size=2000, stored=bytes(2000)),
        "1000 entries",
    ),
    "parts-unsaid": (
        header(tarfile.XHDTYPE, record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0"))
        + tar(member("x", body=b"99999999\n" * 9)),
        "malformed",
    ),
    "bomb": (gzip.compress(tar(member("zeros", body=bytes(40 << 20)))), "when uncompressed"),
    "bomb-in-a-bomb": (
        gzip.compress(gzip.compress(tar(member("zeros", body=bytes(40 << 20))))),
        "when uncompressed",
    ),
    "layers": (
        gzip.compress(gzip.compress(gzip.compress(gzip.compress(tar(member("x")))))),
        "not an archive",
    ),
    "file-and-directory": (tar(member("a"), member("a/b")), "a/b is below something"),
    "cut": (tar(member("a", body=bytes(9999)))[:5000], "cut short"),
}


SYMLINK = (stat.S_IFLNK | 0o777) << 16


def zipped(*entries: tuple[str, bytes], links: tuple[str, ...] = (), **about: int) -> bytes:
    """A zip of these entries; those that ``links`` names are symbolic links."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            info.external_attr = SYMLINK if name in links else 0
            for attribute, value in about.items():
                setattr(info, attribute, value)
            archive.writestr(info, body)
    return packed.getvalue()


def overlapping(count: int) -> bytes:
    """Entries that are all the same piece of the archive."""
    one = zipped(("zeros", bytes(1 << 20)))
    end = one.rindex(b"PK\5\6")
    start = one.rindex(b"PK\1\2", 0, end)
    listed = one[start:end] * count
    about = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(listed), start, 0)
    return one[:start] + listed + about


def patched(archive: bytes, mark: bytes, offset: int, new: bytes) -> bytes:
    """The archive with a field of the last record of a kind changed."""
    at = archive.rindex(mark) + offset
    return archive[:at] + new + archive[at + len(new) :]


ZIPS: dict[str, tuple[bytes, str]] = {
    "absolute": (zipped(("/etc/evil", b"x")), "an absolute name"),
    "above": (zipped(("../evil", b"x")), "a name that leaves it"),
    "above-by-backslash": (
        zipped(("..\\evil", b"x"), create_system=0),
        "a name that leaves it",
    ),
    "device": (zipped(("null", b""), external_attr=stat.S_IFCHR << 16), "null is neither"),
    "long-target": (zipped(("x", b"t" * 5000), links=("x",)), "a link's target of"),
    "through-a-link": (
        zipped(("out", b"/etc"), ("out/evil", b"x"), links=("out",)),
        "out/evil is below something that is not a directory",
    ),
    "nul": (zipped(("a_/../b", b"x")).replace(b"a_/", b"a\0/"), "a name that leaves it|malformed"),
    "encrypted": (patched(zipped(("x", b"x")), b"PK\1\2", 8, b"\1\0"), "x is encrypted"),
    "bomb": (zipped(("zeros", bytes(40 << 20))), "holds more than"),
    "overlap": (overlapping(40), "holds more than|Overlapped"),
    "entries": (zipped(*((f"f{n}", b"") for n in range(1001))), "more than 1000 entries"),
    "wrong-size": (patched(zipped(("x", b"x" * 99)), b"PK\1\2", 24, b"\5\0\0\0"), "malformed"),
    "wrong-checksum": (patched(zipped(("x", b"x" * 99)), b"PK\1\2", 16, b"abcd"), "malformed"),
    "wrong-place": (
        patched(zipped(("x", b"x" * 99)), b"PK\1\2", 42, b"\xff\xff\xff\x7f"),
        "malformed",
    ),
    "zip64-without-numbers": (
        patched(zipped(("x", b"x" * 99)), b"PK\1\2", 20, b"\xff" * 8),
        "expected sha256-.*, got sha256",  # it is read to its end, and judged as any
    ),
    "list-beyond-the-end": (
        patched(zipped(("x", b"x")), b"PK\5\6", 12, b"\xff\xff\xff\x7f"),
        "malformed|a list of entries of",
    ),
    "unknown-method": (patched(zipped(("x", b"x")), b"PK\1\2", 10, b"\x62\0"), "malformed"),
}

OUTWARD = nar.Directory(
    {b"etc": nar.Symlink(b"/etc"), b"up": nar.Symlink(b"../../.."), b"x": nar.Regular.of(b"")}
)
"""Links may lead anywhere, as in any path of the store: nothing follows them."""
ARCHIVES = [
    *(
        OriginCase(
            name=f"{kind}-{name}",
            serve=gives(body),
            said=said,
            attributes=FETCHZIP,
            mode="recursive",
        )
        for kind, table in (("tar", TARS), ("zip", ZIPS))
        for name, (body, said) in table.items()
    ),
    *(
        OriginCase(
            name=f"{kind}-outward",
            serve=gives(body),
            said="",
            arrives=True,
            attributes=FETCHZIP,
            mode="recursive",
            hash=Hash.of(b"".join(nar.serialize(OUTWARD))).base16,
        )
        for kind, body in (
            ("tar", tar(member("etc", LINK, "/etc"), member("up", LINK, "../../.."), member("x"))),
            (
                "zip",
                zipped(("etc", b"/etc"), ("up", b"../../.."), ("x", b""), links=("etc", "up")),
            ),
        )
    ),
]


CASES = [*PLAIN, *ARCHIVES]


@pytest.fixture(scope="module")
def aftermath(village: Village) -> Aftermath:
    return village.run(CASES, limits=LIMITS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_wrong_is_published_and_the_server_is_named(
    aftermath: Aftermath, case: OriginCase
) -> None:
    aftermath.check(case)


@pytest.mark.parametrize("nix", ["nix_stable", "nix_newest"])
def test_nothing_else_is_touched_and_nix_reads_what_was_published(
    aftermath: Aftermath, village: Village, request: pytest.FixtureRequest, nix: str
) -> None:
    village.check(aftermath, CASES, request.getfixturevalue(nix))
