"""What a cache says and nobody signs stops no run, hides no other source, and is not remembered."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rig.hostile import file_nar
from rig.servers import Reply, Server

from mirror.formats.content_address import ContentAddress
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import NarInfo, print_narinfo
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath
from mirror.sources.caches.memory import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig.bench import Bench

    from mirror.nix.command import Nix

ABSURD: Final = 10**18
SOURCE: Final = """derivation {{
  name = "{name}"; system = "x86_64-linux"; builder = "/bin/sh"; urls = [ "{url}" ];
  outputHashAlgo = "sha256"; outputHash = "{hash}"; outputHashMode = "flat"; mirrorsFile = "/none";
}}"""


@dataclass(frozen=True)
class Lie:
    """What a cache without a key says of a source: all of ``text`` is replaced."""

    name: str
    change: Callable[[str], str]
    is_harmless: bool = False

    @property
    def content(self) -> bytes:
        return self.name.encode() * 1000

    @property
    def path(self) -> StorePath:
        address = ContentAddress.parse(f"fixed:{Hash.of(self.content).nix32}")
        return address.path(self.name, [])

    def narinfo(self) -> bytes:
        archive = file_nar(self.content)
        info = PathInfo(path=self.path, nar_hash=Hash.of(archive), nar_size=len(archive))
        made = NarInfo(info=info, url=f"nar/{self.name}.nar", compression="none")
        return self.change(print_narinfo(made).decode()).encode()


def replaced(field: str, value: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        kept = [line for line in text.splitlines() if not line.startswith(f"{field}:")]
        return "\n".join([*kept, f"{field}: {value}", ""])

    return change


def lies(room: int) -> list[Lie]:
    other = StorePath.from_base_name("0" * 32 + "-other")
    return [
        Lie("nar-of-an-exabyte", replaced("NarSize", str(ABSURD))),
        Lie("nar-of-most-of-the-room", replaced("NarSize", str(room * 3 // 4))),
        Lie("nar-of-nothing", replaced("NarSize", "1")),
        Lie("file-of-an-exabyte", replaced("FileSize", str(ABSURD)), is_harmless=True),
        Lie("no-size", replaced("NarSize", "-1")),
        Lie("another-nar", replaced("NarHash", Hash.of(b"another").nix32)),
        Lie("another-path", replaced("StorePath", other)),
        Lie("references", replaced("References", other.base_name)),
        Lie("far-away", replaced("URL", "https://elsewhere.invalid/x.nar")),
        Lie("nowhere", replaced("URL", "nar/gone.nar")),
        Lie("unknown-compression", replaced("Compression", "lzma9")),
        Lie("another-compression", replaced("Compression", "zstd")),
        Lie(
            "another-address",
            replaced("CA", f"fixed:r:{Hash.of(b'another').nix32}"),
            is_harmless=True,
        ),
        Lie("no-narinfo", lambda _: "<html>"),
    ]


def prepare(bench: Bench, server: Server, told: list[Lie]) -> tuple[str, ...]:
    """Let the server be the sources' origin, and for each lie a cache; the caches' URLs."""
    made = []
    for lie in told:
        url = server.on(f"/origin/{lie.name}", Reply(body=lie.content))
        server.on(f"/{lie.name}/nix-cache-info", Reply(body=b"StoreDir: /nix/store\n"))
        server.on(f"/{lie.name}/{lie.path.hash_part}.narinfo", Reply(body=lie.narinfo()))
        archive = Reply(body=file_nar(lie.content), endless=lie.name == "nar-of-an-exabyte")
        server.on(f"/{lie.name}/nar/{lie.name}.nar", archive)
        text = SOURCE.format(name=lie.name, url=url, hash=Hash.of(lie.content).base16)
        made.append(f"({text})")
    (bench.directory / "sources.nix").write_text(
        '{ all = derivation { name = "all"; system = "x86_64-linux"; builder = "/bin/sh"; '
        f"sources = [ {' '.join(made)} ]; }}; }}"
    )
    return tuple(f"{server.url}/{lie.name}" for lie in told)


def remembered(nix: Nix) -> list[str]:
    """The caches of which more than absences is remembered."""
    file = nix.cache_directory / FILE_NAME
    with contextlib.closing(sqlite3.connect(file)) as memory:
        rows = memory.execute("SELECT DISTINCT cache FROM answers WHERE narinfo IS NOT NULL")
        return [cache for (cache,) in rows]


async def test_what_caches_without_a_key_say_of_sources_costs_nothing(
    bench: Bench, nix_stable: Nix
) -> None:
    told = lies(shutil.disk_usage(bench.directory).free)
    async with Server() as server:
        caches = prepare(bench, server, told)
        synced = await bench.sync(
            nix_stable,
            "all = ./sources.nix#all budget=1M",
            bench.directory / "cache",
            substituters=caches,
            builder=False,
        )
        assert synced.is_complete
        assert synced.plan.download_bytes == synced.plan.nar_bytes == 0
        assert not [each for each in bench.recorder.notices if "budget" in each]
        stored = {each.path: each for each in synced.outcomes}
        for lie in told:
            # Some of what is false is of no importance: then the cache gives it.
            sources = {f"{server.url}/origin/{lie.name}"}
            if lie.is_harmless:
                sources.add(f"{server.url}/{lie.name}/nar/{lie.name}.nar")
            assert stored[lie.path].source in sources, lie
    assert not {*caches} & {*remembered(nix_stable)}
