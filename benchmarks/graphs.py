"""Generated build graphs, as real Nix instantiates them, and a cache that has nearly all of one.

What ``graph.nix`` says is evaluated once for each size, into a store of its own below
``$XDG_CACHE_HOME/prefetch/benchmarks``; a text that has changed makes another one. Its derivations
are like those of nixpkgs in form and size, three for each package and some for the system itself.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.places import made_once
from mirror.formats import nar
from mirror.formats.cache_info import CacheInfo, print_cache_info
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import NarInfo, print_narinfo
from mirror.formats.path_info import PathInfo
from mirror.formats.signing import fingerprint
from mirror.formats.store_path import StorePath
from mirror.nix.derivations import read_closure
from mirror.nix.stores import StoreLocation
from mirror.planning.graph import substitutes_allowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.formats.signing import SecretKey

EXPRESSION: Final = Path(__file__).with_name("graph.nix")
SETTINGS: Final = """
experimental-features = nix-command flakes
build-users-group =
substituters =
fsync-metadata = false
"""
"""``NIX_CONFIG`` for the programs of Nix that look at a graph: no cache is asked."""

_ROOT: Final = "root.drv"
# One in so many sources is in no cache.
_MISSING: Final = 10
_NAR_SIZE: Final = 100_000


@dataclass(frozen=True, slots=True)
class GeneratedGraph:
    """The store in ``directory`` has ``root``, a derivation, and all that it needs."""

    directory: Path
    root: StorePath

    @property
    def store(self) -> StoreLocation:
        """Where it is, as ``--store`` takes it and as files."""
        return StoreLocation.parse(f"local?root={self.directory}")


def generated_graph(packages: int) -> GeneratedGraph:
    """The graph of so many packages, each with two sources: some ``3 * packages`` derivations."""
    digest = hashlib.sha256(EXPRESSION.read_bytes()).hexdigest()[:16]

    def make(directory: Path) -> None:
        (directory / _ROOT).write_text(_instantiate(packages, directory))

    directory = made_once(f"graph-{digest}-{packages}", make)
    return GeneratedGraph(directory, StorePath.parse((directory / _ROOT).read_text()))


def _instantiate(packages: int, store: Path) -> str:
    arguments = ("--store", f"local?root={store}", "--arg", "packages", str(packages))
    completed = subprocess.run(
        ["nix-instantiate", *arguments, str(EXPRESSION)],
        env={**os.environ, "NIX_CONFIG": SETTINGS},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return completed.stdout.strip()


def publish(graph: GeneratedGraph, cache: Path, key: SecretKey, *, with_nars: bool = False) -> int:
    """Write the narinfos of a cache that has nearly all outputs; how many they are.

    It lacks one source in ten, and what must not be substituted. Plans fetch no NAR; ``with_nars``
    there is one of each path, with a small file in it (which is not what a source should be).
    """
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "nix-cache-info").write_bytes(print_cache_info(CacheInfo(want_mass_query=True)))
    count = 0
    (cache / "nar").mkdir()
    for offered in _offered(graph):
        unsigned, compression, file_size = offered, "xz", _NAR_SIZE // 4
        if with_nars:
            data = b"".join(nar.serialize(nar.Regular.of(offered.path.encode())))
            unsigned = replace(offered, nar_hash=Hash.of(data), nar_size=len(data))
            compression, file_size = "none", len(data)
            (cache / f"nar/{unsigned.nar_hash.base32}.nar.none").write_bytes(data)
        info = replace(unsigned, signatures=(key.sign(fingerprint(unsigned)),))
        entry = NarInfo(
            info=info,
            url=f"nar/{info.nar_hash.base32}.nar.{compression}",
            compression=compression,
            file_hash=info.nar_hash,
            file_size=file_size,
        )
        (cache / f"{info.path.hash_part}.narinfo").write_bytes(print_narinfo(entry))
        count += 1
    return count


def _offered(graph: GeneratedGraph) -> Iterator[PathInfo]:
    derivations = read_closure(graph.store, [graph.root])
    sources = 0
    for derivation in derivations.values():
        if derivation.is_fixed:
            sources += 1
            if sources % _MISSING == 0:
                continue
        elif not substitutes_allowed(derivation):
            continue
        # What was used to build it stays behind in half of the cases, sources never.
        inputs = [derivations[path] for path in derivation.input_derivations]
        libraries = [each for each in inputs if not each.is_fixed and each.path.hash_part[-1] < "h"]
        references = {path for each in libraries for path in each.output_paths(["out"])}
        for path in derivation.output_paths():
            yield PathInfo(
                path=path,
                nar_hash=Hash.of(path.encode()),
                nar_size=_NAR_SIZE,
                references=() if derivation.is_fixed else tuple(sorted({path, *references})),
            )
