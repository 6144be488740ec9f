"""A cache for a system that was only evaluated: what its builders would have made, invented.

What an input-addressed path contains is up to its builder, so a cache can have anything there, if
it is signed. Here each output is a small tree of random bytes that refers to some of what it was
built from, as real outputs do. A fixed output cannot be invented, since its hash is known; nor is
what Nix builds by itself on each machine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.formats import nar
from mirror.formats.cache_info import FILE_NAME, CacheInfo, print_cache_info
from mirror.formats.compression import ZstdCompressor
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import NarInfo, print_narinfo
from mirror.formats.path_info import PathInfo
from mirror.formats.signing import SecretKey, fingerprint
from mirror.planning.graph import is_machine_specific

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mirror.formats.derivation import Derivation
    from mirror.formats.store_path import StorePath
    from mirror.planning.graph import Graph

_MOST_REFERENCES: Final = 6
_COMPRESSIONS: Final = ("none", "zstd", "zstd")


@dataclass(frozen=True, slots=True, kw_only=True)
class InventedCache:
    """A directory that Nix reads as ``file://``, signed with a key of its own."""

    directory: Path
    public_key: str
    paths: frozenset[StorePath]

    @property
    def url(self) -> str:
        """As ``substituters`` names it."""
        return f"file://{self.directory}"


def invent(
    graph: Graph,
    directory: Path,
    *,
    seed: int,
    lacks: Callable[[Derivation], bool] = lambda _: False,
) -> InventedCache:
    """Write a cache that has every output of ``graph`` that a cache would have.

    ``lacks`` are derivations that it has nothing of all the same.
    """
    drawn = random.Random(seed)
    key = SecretKey.generate("invented-1")
    (directory / "nar").mkdir(parents=True)
    (directory / FILE_NAME).write_bytes(
        print_cache_info(CacheInfo(store_directory="/nix/store", want_mass_query=True))
    )
    references: dict[StorePath, frozenset[StorePath]] = {}
    for path in graph.build_graph(graph.derivations):
        derivation = graph[path]
        if derivation.is_fixed or is_machine_specific(derivation) or lacks(derivation):
            continue
        inputs = (graph[each].output_paths() for each in derivation.input_derivations)
        near = {output for outputs in inputs for output in outputs if output in references}
        within_reach = sorted(near.union(*(references[each] for each in near)))
        for output in sorted(derivation.output_paths()):
            # As a program refers to the library that is another output of the same package.
            others = [each for each in derivation.output_paths() if each in references]
            few = drawn.randint(0, min(_MOST_REFERENCES, len(within_reach)))
            referred = {*drawn.sample(within_reach, few), *others[:1]}
            referred |= {output} if drawn.random() < 0.3 else set()
            references[output] = frozenset(referred)
            _publish(directory, key, output, sorted(referred), drawn)
    return InventedCache(
        directory=directory, public_key=str(key.public), paths=frozenset(references)
    )


def _publish(
    cache: Path,
    key: SecretKey,
    path: StorePath,
    references: Iterable[StorePath],
    drawn: random.Random,
) -> None:
    archive = b"".join(nar.serialize(_content(drawn)))
    claimed = PathInfo(
        path=path,
        nar_hash=Hash.of(archive),
        nar_size=len(archive),
        references=tuple(references),
    )
    compression = drawn.choice(_COMPRESSIONS)
    packed, suffix = archive, "nar"
    if compression == "zstd":
        compressor = ZstdCompressor()
        packed, suffix = compressor.feed(archive) + compressor.finish(), "nar.zst"
    file_hash = Hash.of(packed)
    url = f"nar/{file_hash.base32}.{suffix}"
    (cache / url).write_bytes(packed)
    narinfo = NarInfo(
        info=PathInfo(
            path=path,
            nar_hash=claimed.nar_hash,
            nar_size=claimed.nar_size,
            references=claimed.references,
            signatures=(key.sign(fingerprint(claimed)),),
        ),
        url=url,
        compression=compression,
        file_hash=file_hash,
        file_size=len(packed),
    )
    (cache / f"{path.hash_part}.narinfo").write_bytes(print_narinfo(narinfo))


def _content(drawn: random.Random) -> nar.Node:
    def file() -> nar.Regular:
        return nar.Regular.of(
            drawn.randbytes(drawn.randint(1, 2_000)), executable=drawn.random() < 0.5
        )

    if drawn.random() < 0.2:
        return file()
    entries: dict[bytes, nar.Node] = {
        f"file-{number}".encode(): file() for number in range(drawn.randint(1, 4))
    }
    entries[b"link"] = nar.Symlink(b"file-0")
    return nar.Directory({b"bin": nar.Directory(entries)})
