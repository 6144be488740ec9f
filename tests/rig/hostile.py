"""Caches and origins that misbehave: what each does, and what is to become of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from mirror.formats import nar
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import NarInfo, print_narinfo
from mirror.formats.path_info import PathInfo
from mirror.formats.signing import SecretKey, fingerprint
from rig.servers import Reply, Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mirror.formats.store_path import StorePath
FETCHURL: Final = 'mirrorsFile = "/none"; urls = "{url}";'
"""The attributes of a source that is a file, with its URL to be filled in."""
FETCHZIP: Final = FETCHURL + " postFetch = ''unpackFile \"$renamed\"'';"
"""Those of a source that is an archive's tree, as with ``stripRoot=false``."""
FETCHGIT: Final = 'fetcher = "/none"; leaveDotGit = ""; fetchSubmodules = "1"; url = "{url}";'
"""Those of a source that is a git revision with its submodules; it needs a ``rev`` too."""


def file_nar(contents: bytes) -> bytes:
    """The NAR of a file."""
    return b"".join(nar.serialize(nar.Regular.of(contents)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCase:
    """A cache that misbehaves about one path; ``said`` is a pattern of what the report says.

    ``arrives``: the path is had nevertheless. It is a file of ``size`` bytes.
    """

    name: str
    serve: Callable[[Place], object]
    said: str
    arrives: bool = False
    size: int = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginCase:
    """An origin that misbehaves about one source, which has ``attributes`` in Nix."""

    name: str
    serve: Callable[[Place], object]
    said: str
    arrives: bool = False
    attributes: str = FETCHURL
    builder: str = "/bin/sh"
    mode: str = "flat"
    hash: str = Hash.of(b"what it should be").base16


@dataclass(kw_only=True)
class Place:
    """One server's part of the hostile server: everything below ``url``."""

    name: str
    url: str
    server: Server
    inside: Server
    key: SecretKey
    directory: Path
    path: StorePath | None = None
    size: int = 0

    @cached_property
    def contents(self) -> bytes:
        """What the path holds: another thing in each place, incompressible."""
        return random.Random(self.name).randbytes(self.size)

    @cached_property
    def nar(self) -> bytes:
        return file_nar(self.contents)

    def on(self, file: str, *replies: Reply) -> str:
        """Answer ``file`` so; its URL."""
        return self.server.on(f"/{self.name}/{file}", *replies)

    def narinfo(
        self,
        archive: bytes | None = None,
        *,
        compression: str = "none",
        url: str = "nar/x.nar",
        file_size: int | None = None,
        signatures: tuple[str, ...] | None = None,
        **changes: object,
    ) -> bytes:
        """A narinfo of the path, signed as it then says unless ``signatures`` are given."""
        assert self.path is not None
        archive = self.nar if archive is None else archive
        info = PathInfo(path=self.path, nar_hash=Hash.of(archive), nar_size=len(archive))
        info = replace(info, **changes)  # type: ignore[arg-type] # a table of arguments
        if signatures is None:
            signatures = (self.key.sign(fingerprint(info)),)
        return print_narinfo(
            NarInfo(
                info=replace(info, signatures=signatures),
                url=url,
                compression=compression,
                file_size=file_size,
            )
        )

    def says(self, narinfo: bytes | Reply) -> None:
        """Answer so when asked for the path's narinfo."""
        assert self.path is not None
        reply = Reply(body=narinfo) if isinstance(narinfo, bytes) else narinfo
        self.on(f"{self.path.hash_part}.narinfo", reply)

    def gives(self, *replies: Reply) -> None:
        """Say the truth of the path, and answer so when asked for its NAR."""
        self.says(self.narinfo())
        self.on("nar/x.nar", *replies)

    def packs(self, archive: bytes, **said: object) -> None:
        """Offer this archive as the path's, signed."""
        self.says(self.narinfo(archive, **said))  # type: ignore[arg-type] # a table of arguments
        self.on("nar/x.nar", Reply(body=archive))
