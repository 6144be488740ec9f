"""A generated system of a few thousand derivations, with a cache that has a part of it.

Building all of it would take minutes. What an input-addressed path contains is up to its builder,
so the cache's part is written here: a file for each output, signed with the upstream's key. Nix
takes it as it takes any other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.formats import nar
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import NarInfo, print_narinfo
from mirror.formats.path_info import PathInfo
from mirror.formats.signing import SecretKey, fingerprint
from mirror.formats.store_path import StorePath
from rig.running import ScratchStore, run

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """``attribute`` of ``file`` is the system; ``caches`` has what it is built from, in part."""

    file: Path
    attribute: str
    caches: tuple[str, ...]
    public_key: str
    cached: int


def generate(nix: Nix, upstream: Upstream, scratch: Path) -> Generated:
    """Publish a part of ``generated.nix`` in the cache, and all its sources at the origin."""
    file = upstream.distribution / "generated.nix"
    store = ScratchStore(scratch)
    cached = _read(nix, file, "cached", store)
    sources = _read(nix, file, "sources", store)
    store.remove()
    key = SecretKey.parse(upstream.secret_key_file.read_text())
    (upstream.cache_directory / "nar").mkdir(exist_ok=True)
    for entry in cached:
        _publish(upstream.cache_directory, key, entry)
    origin = upstream.origin_directory / "generated/one"
    origin.mkdir(parents=True, exist_ok=True)
    for source in sources:
        (origin / source["name"]).write_text(source["text"])
    return Generated(
        file=file,
        attribute="toplevel",
        caches=(upstream.cache_url,),
        public_key=upstream.public_key,
        cached=len(cached),
    )


def _read(nix: Nix, file: Path, attribute: str, store: ScratchStore) -> list[dict[str, Any]]:
    shown = run(nix, "nix", "eval", "--json", "--file", str(file), attribute, store=store)
    listed: list[dict[str, Any]] = json.loads(shown.stdout)
    return listed


def _publish(cache: Path, key: SecretKey, entry: dict[str, Any]) -> None:
    path = StorePath.parse(entry["path"])
    archive = b"".join(nar.serialize(nar.Regular.of(entry["text"].encode())))
    unsigned = PathInfo(
        path=path,
        nar_hash=Hash.of(archive),
        nar_size=len(archive),
        references=tuple(sorted(map(StorePath.parse, entry["references"]))),
    )
    info = PathInfo(
        path=path,
        nar_hash=unsigned.nar_hash,
        nar_size=unsigned.nar_size,
        references=unsigned.references,
        signatures=(key.sign(fingerprint(unsigned)),),
    )
    url = f"nar/{path.hash_part}.nar"
    (cache / url).write_bytes(archive)
    narinfo = NarInfo(
        info=info, url=url, compression="none", file_hash=info.nar_hash, file_size=info.nar_size
    )
    (cache / f"{path.hash_part}.narinfo").write_bytes(print_narinfo(narinfo))
