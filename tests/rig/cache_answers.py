"""How binary caches answer: real servers, each with what is peculiar to it.

What else they may answer is in :mod:`rig.odd_answers`.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import brotli  # type: ignore[import-untyped]  # it ships no types

from mirror.formats import nar
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.signing import SecretKey, fingerprint
from mirror.formats.store_path import StorePath
from rig.servers import Reply, Server

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COMPRESSORS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "none": bytes,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": zstd.compress,
    "bzip2": bz2.compress,
    "gzip": gzip.compress,
    "br": lambda data: brotli.compress(data, quality=1),
}
KEY: Final = SecretKey("answers-1", bytes(32))
CACHE_INFO: Final = b"StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n"


@dataclass(kw_only=True, eq=False)
class Asked:
    """A path that is asked for at ``cache``, and the server that answers."""

    name: str
    cache: str
    server: Server
    elsewhere: Server
    """Another server, of another port."""
    references: tuple[StorePath, ...] = ()

    @cached_property
    def path(self) -> StorePath:
        return StorePath.from_base_name(f"{Hash.of(self.name.encode()).base32[:32]}-{self.name}")

    @cached_property
    def nar(self) -> bytes:
        """A file that can be compressed, another one for each path."""
        contents = random.Random(self.name).randbytes(300) + self.path.encode() * 20
        return b"".join(nar.serialize(nar.Regular.of(contents)))

    @property
    def info(self) -> PathInfo:
        return PathInfo(
            path=self.path,
            nar_hash=Hash.of(self.nar),
            nar_size=len(self.nar),
            references=tuple(sorted(self.references)),
        )

    @property
    def signature(self) -> str:
        return KEY.sign(fingerprint(self.info))

    @property
    def hash_part(self) -> str:
        return self.path.hash_part

    def packed(self, method: str) -> bytes:
        return COMPRESSORS[method](self.nar)

    def url(self, file: str) -> str:
        """Where the server has what a reference in the cache leads to."""
        return urljoin(f"{self.cache}/", file)

    def on(self, file: str, reply: Reply | bytes) -> None:
        """Answer a request for this file of the cache so."""
        self.server.on(self.url(file).removeprefix(self.server.url), _reply(reply))

    def lines(self, compression: str = "none", url: str | None = None) -> dict[str, str]:
        """The fields that every server gives, in Nix's order; the NAR is at ``url``."""
        found = {
            "StorePath": self.path,
            "URL": url or f"nar/{self.hash_part}.nar",
            "Compression": compression,
            "NarHash": self.info.nar_hash.nix32,
            "NarSize": str(len(self.nar)),
        }
        if self.references:
            found["References"] = " ".join(each.base_name for each in self.references)
        return {**found, "Sig": self.signature}

    def says(self, lines: dict[str, str] | Reply | bytes, **headers: str) -> None:
        """Answer a request for the narinfo so."""
        if isinstance(lines, dict):
            lines = Reply(body=text(lines), headers=headers)
        self.on(f"{self.hash_part}.narinfo", lines)

    def gives(self, reply: Reply | bytes, **headers: str) -> None:
        """Answer a request for the NAR so, where :meth:`lines` says that it is."""
        if isinstance(reply, bytes):
            reply = Reply(body=reply, headers=headers)
        self.on(f"nar/{self.hash_part}.nar", reply)

    def has(self, method: str = "none") -> None:
        """Say and give what is right."""
        self.says(self.lines(method))
        self.gives(self.packed(method))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What is answered of one path, as ``give`` arranges it.

    ``info`` is what a cache of its own says of itself. ``alone``: Nix ends, or asks no more of a
    cache, where it meets that. ``unlike`` are the versions of Nix that decide otherwise than is
    decided here, and why it is so.
    """

    name: str
    give: Callable[[Asked], object]
    alone: bool = False
    info: Reply | bytes | None = None
    unlike: Mapping[str, str] = field(default_factory=dict)

    def asked(self, server: Server, elsewhere: Server) -> Asked:
        """Have the servers answer so."""
        cache = self.name if self.alone or self.info is not None else "shared"
        asked = Asked(
            name=self.name, cache=f"{server.url}/{cache}", server=server, elsewhere=elsewhere
        )
        asked.on("nix-cache-info", CACHE_INFO if self.info is None else self.info)
        self.give(asked)
        return asked


def text(lines: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\n" for name, value in lines.items()).encode()


def chunked(body: bytes, **headers: str) -> Reply:
    """An answer without a length, in chunks."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    pieces = [body[start : start + 700] for start in range(0, len(body), 700)]
    sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    start = f"HTTP/1.1 200 OK\r\n{head}Transfer-Encoding: chunked\r\n\r\n"
    return Reply(raw=start.encode() + sent + b"0\r\n\r\n")


def _reply(reply: Reply | bytes) -> Reply:
    return Reply(body=reply) if isinstance(reply, bytes) else reply


def _with_file(asked: Asked, method: str, packed: bytes, **more: str) -> dict[str, str]:
    lines = asked.lines(method)
    of_file = {"FileHash": Hash.of(packed).nix32, "FileSize": str(len(packed))}
    kept = {name: lines.pop(name) for name in ("StorePath", "URL", "Compression")}
    return {**kept, **of_file, **lines, **more}


# Real servers: what they are known to answer.


def cache_nixos_org(asked: Asked) -> None:
    packed = asked.packed("xz")
    lines = _with_file(asked, "xz", packed, Deriver=f"{asked.path.base_name}.drv")
    lines["URL"] = f"nar/{Hash.of(packed).base32}.nar.xz"
    asked.says(lines, **{"Content-Type": "text/x-nix-narinfo", "ETag": '"1"', "Age": "77"})
    asked.on(lines["URL"], Reply(body=packed, etag='"2"'))


def nix_serve(asked: Asked) -> None:
    lines = asked.lines(url=f"nar/{asked.hash_part}-{asked.info.nar_hash.base32}.nar")
    asked.says({**lines, "References": ""}, **{"Content-Type": "text/plain"})
    asked.on(lines["URL"], chunked(asked.nar, **{"Content-Type": "text/plain"}))


def nix_serve_ng(asked: Asked) -> None:
    lines = asked.lines(url=f"nar/{asked.hash_part}-{asked.info.nar_hash.base32}.nar")
    asked.says(lines, **{"Content-Type": "text/x-nix-narinfo"})
    asked.on(lines["URL"], Reply(body=asked.nar, headers={"Content-Type": "text/plain"}))


def harmonia(asked: Asked) -> None:
    file = f"nar/{asked.info.nar_hash.base32}.nar"
    lines = _with_file(asked, "none", asked.nar)
    lines["URL"] = f"{file}?hash={asked.hash_part}"
    asked.says(lines, **{"Nix-Link": lines["URL"], "Cache-Control": "max-age=86400"})
    asked.on(file, asked.nar)


def attic(asked: Asked) -> None:
    half = len(asked.nar) // 2
    asked.says(asked.lines("zstd"))
    asked.gives(chunked(zstd.compress(asked.nar[:half]) + zstd.compress(asked.nar[half:])))


def attic_on_s3(asked: Asked) -> None:
    signed = f"/bucket/{asked.hash_part}?X-Amz-Credential=K%2F20260101%2Fus&X-Amz-Signature=0"
    asked.says(asked.lines("zstd"))
    asked.gives(Reply(status=307, headers={"Location": asked.elsewhere.url + signed}))
    asked.elsewhere.on(f"/bucket/{asked.hash_part}", Reply(body=asked.packed("zstd")))


def ncps(asked: Asked) -> None:
    lines = _with_file(asked, "zstd", asked.packed("xz"))
    asked.says({**lines, "FileSize": str(len(asked.nar))})
    asked.gives(chunked(asked.packed("zstd")))


def niks3(asked: Asked) -> None:
    asked.says(asked.lines("zstd"), **{"Content-Type": "application/octet-stream"})
    asked.gives(asked.packed("zstd"), **{"Content-Type": "binary/octet-stream"})


def cachix(asked: Asked) -> None:
    packed = asked.packed("zstd")
    lines = _with_file(asked, "zstd", packed, Deriver="unknown-deriver")
    lines["FileHash"] = f"sha256:{Hash.of(packed).base16}"
    lines["URL"] = f"nar/{Hash.of(packed).base16}.nar.zst"
    asked.says(lines)
    target = asked.elsewhere.on(f"/{asked.hash_part}.zst", Reply(body=packed))
    asked.on(lines["URL"], Reply(status=302, headers={"Location": target}))


def hydra(asked: Asked) -> None:
    lines = asked.lines("bzip2")
    del lines["Compression"]
    asked.says({**lines, "System": "x86_64-linux"}, **{"Content-Type": "text/x-nix-narinfo"})
    asked.gives(chunked(asked.packed("bzip2"), **{"Content-Type": "application/x-nix-archive"}))


def nar_bridge(asked: Asked) -> None:
    file = "nar/castore/CiABAg"
    asked.says(asked.lines(url=f"{file}?narsize={len(asked.nar)}"))
    asked.on(file, asked.nar)


def bucket_with_encoded_narinfos(method: str) -> Callable[[Asked], None]:
    """As Nix uploads with ``narinfo-compression``; the encoding does not depend on the request."""

    def give(asked: Asked) -> None:
        body = COMPRESSORS[{"x-gzip": "gzip"}.get(method, method)](text(asked.lines("xz")))
        asked.says(Reply(body=body, headers={"Content-Encoding": method}))
        asked.gives(asked.packed("xz"))

    return give


def proxy_that_compresses(asked: Asked) -> None:
    narinfo = text(asked.lines("none"))
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    asked.says(chunked(gzip.compress(narinfo), **headers))
    asked.gives(chunked(gzip.compress(asked.nar), **headers))


SERVERS: Final = [
    *(
        Answers(name=give.__name__.replace("_", "-"), give=give)
        for give in (
            *(cache_nixos_org, nix_serve, nix_serve_ng, harmonia, attic, attic_on_s3, ncps, niks3),
            *(cachix, hydra, nar_bridge, proxy_that_compresses),
        )
    ),
    *(
        Answers(name=f"bucket-of-{method}", give=bucket_with_encoded_narinfos(method))
        for method in ("gzip", "x-gzip", "br", "zstd")
    ),
]
