"""What a sync of a whole NixOS mostly is: thousands of small paths, generated without nixpkgs.

Numbers and sizes are those of the laptop in ``docs/reliability.md``: 3,693 derivations (the median
has 3,013 bytes and 4 inputs, one in ten more than 5,156 bytes, the largest 759,766; a third has
structured attributes), 326 sources, and 538 paths that a cache has; 42 MB as NARs. Real Nix
instantiates them. Always the same for one scale, made once, and kept as other benchmarks' data.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.closures import nix
from benchmarks.places import made_once
from mirror.formats import nar
from mirror.formats.cache_info import CacheInfo, print_cache_info
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import NarInfo, print_narinfo
from mirror.formats.path_info import PathInfo
from mirror.formats.signing import SecretKey, fingerprint
from mirror.formats.store_path import StorePath
from mirror.nix.derivations import read_closure
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXPRESSION: Final = Path(__file__).with_name("small_paths.nix")

_DERIVATIONS: Final = 3_693
_LOCAL: Final = 274
"""Of the derivations, those that the machine builds itself."""
_STRUCTURED: Final = 1_163
_OFFERED: Final = 538
_SOURCES: Final = 326

_MEDIAN_BYTES: Final = 3_013
_SPREAD: Final = 0.42
"""Of the sizes' logarithms: one in ten is more than 1.71 times the median."""
_LARGEST_BYTES: Final = 759_766
_OF_ITSELF: Final = 450
_OF_AN_INPUT: Final = 145
"""What a derivation takes, and each of its inputs, in bytes, without the text."""
_MEDIAN_INPUTS: Final = 4
_MOST_INPUTS: Final = 161
_SOURCES_BYTES: Final = 5_000_000
_OFFERED_BYTES: Final = 24_000_000
_KEY_NAME: Final = "benchmarks-1"


@dataclass(frozen=True, slots=True)
class SmallPaths:
    """In ``directory`` a store with derivations and their sources, and a cache of some outputs."""

    directory: Path

    @property
    def store(self) -> StoreLocation:
        """Where the derivations are."""
        return StoreLocation.parse(f"local?root={self.directory / 'store'}")

    @property
    def root(self) -> StorePath:
        """The derivation that needs all others."""
        return StorePath.parse((self.directory / "root").read_text())

    @property
    def cache(self) -> Path:
        """A binary cache of what is not built locally."""
        return self.directory / "cache"

    @property
    def public_key(self) -> str:
        """What signed the cache."""
        return (self.directory / "public-key").read_text()

    @property
    def count(self) -> int:
        """How many paths a sync of a rebuild has."""
        derivations = read_closure(self.store, [self.root]).values()
        sources = {path for each in derivations for path in each.input_sources}
        return len(derivations) + len(sources) + len(self.offered)

    @property
    def offered(self) -> list[str]:
        """The paths of the cache."""
        return (self.directory / "offered").read_text().split()


def small_paths(scale: float) -> SmallPaths:
    """As many as a NixOS has, times ``scale``; made, if they are not there yet."""
    code = Path(__file__).read_bytes() + _EXPRESSION.read_bytes()
    name = f"small-{scale:g}-{hashlib.sha256(code).hexdigest()[:12]}"
    return SmallPaths(made_once(name, lambda directory: _make(SmallPaths(directory), scale)))


def _make(made: SmallPaths, scale: float) -> None:
    chance = random.Random(2026)
    words = [chance.randbytes(chance.randrange(1, 7)).hex() for _ in range(4096)]
    expression = made.directory / "expression"
    expression.mkdir()
    shutil.copy(_EXPRESSION, expression)
    sources = _write_sources(expression / "sources", scale, chance, words)
    described = _derivations(scale, sources, chance, words)
    (expression / "paths.json").write_text(json.dumps(described))
    root = nix("nix-instantiate", expression / _EXPRESSION.name, store=made.store.url)
    (made.directory / "root").write_text(root)
    _publish(made, scale, chance, words)


def _derivations(
    scale: float, sources: Sequence[str], chance: random.Random, words: Sequence[str]
) -> list[dict[str, Any]]:
    """The derivations in an order in which each comes after its inputs.

    First those of which nothing is wanted but their files, then those whose outputs the cache has,
    then the local ones. Each takes some that nothing else has taken yet, so the last needs all.
    """
    count = round(_DERIVATIONS * scale)
    first_local = count - round(_LOCAL * scale)
    first_offered = first_local - round(_OFFERED * scale)
    structured = set(chance.sample(range(count), round(_STRUCTURED * scale)))
    largest = chance.randrange(first_offered)
    unused, unread = list[int](), list(sources)
    described = []
    for index in range(count):
        is_local = index >= first_local
        size = round(chance.lognormvariate(0, _SPREAD) * _MEDIAN_BYTES)
        size = _LARGEST_BYTES if index == largest else size
        drawn = round(chance.lognormvariate(0, 0.9) * _MEDIAN_INPUTS)
        wanted = min(index, _MOST_INPUTS if index == count // 2 else drawn, _MOST_INPUTS)
        # Nothing else of a local derivation's inputs is in the cache.
        among = range(first_offered if is_local else 0, index)
        inputs = set(unused[: max(1, wanted // 2)] if index < count - 1 else unused)
        inputs.update(chance.sample(among, min(len(among), max(0, wanted - len(inputs)))))
        unused = [each for each in unused if each not in inputs]
        unused.append(index)
        left = count - index
        taken = [unread.pop() for _ in range(-(-len(unread) // left))] if not index % 10 else []
        taken += unread if left == 1 else []
        described.append(
            {
                "name": f"package-{index}-{chance.randrange(9)}.{chance.randrange(99)}",
                "text": _text(size - _OF_ITSELF - _OF_AN_INPUT * len(inputs), chance, words),
                "inputs": sorted(inputs),
                "sources": taken,
                "structured": index in structured,
                "local": is_local,
            }
        )
    return described


def _write_sources(
    directory: Path, scale: float, chance: random.Random, words: Sequence[str]
) -> list[str]:
    """Files, and a directory with four in each tenth place; their names."""
    directory.mkdir()
    sizes = _sizes(round(_SOURCES * scale), scale * _SOURCES_BYTES, chance)
    names = []
    for index, size in enumerate(sizes):
        name = f"source-{index}"
        names.append(name)
        if index % 10:
            (directory / name).write_text(_text(size, chance, words))
            continue
        (directory / name).mkdir()
        for part in range(4):
            (directory / name / f"file-{part}").write_text(_text(size // 4, chance, words))
    return names


def _publish(made: SmallPaths, scale: float, chance: random.Random, words: Sequence[str]) -> None:
    """Write the cache: the outputs that a rebuild takes, each of which refers to those it needs."""
    key = SecretKey.generate(_KEY_NAME)
    (made.directory / "public-key").write_text(str(key.public))
    (made.cache / "nar").mkdir(parents=True)
    (made.cache / "nix-cache-info").write_bytes(print_cache_info(CacheInfo(want_mass_query=True)))
    derivations = read_closure(made.store, [made.root])
    last = round(_DERIVATIONS * scale) - round(_LOCAL * scale)
    places = range(last - round(_OFFERED * scale), last)
    offered = {path for path in derivations if int(path.name.split("-")[1]) in places}
    sizes = _sizes(len(offered), scale * _OFFERED_BYTES, chance)
    for path, size in zip(sorted(offered), sizes, strict=True):
        derivation = derivations[path]
        (output,) = derivation.output_paths()
        references = sorted(
            each
            for inner in derivation.input_derivations
            if inner in offered
            for each in derivations[inner].output_paths()
        )
        data = b"".join(nar.serialize(nar.Regular.of(_text(size, chance, words).encode())))
        compressed = lzma.compress(data)
        info = PathInfo(
            path=output, nar_hash=Hash.of(data), nar_size=len(data), references=tuple(references)
        )
        signed = PathInfo(
            path=output,
            nar_hash=info.nar_hash,
            nar_size=info.nar_size,
            references=info.references,
            signatures=(key.sign(fingerprint(info)),),
        )
        file_hash = Hash.of(compressed)
        entry = NarInfo(
            info=signed,
            url=f"nar/{file_hash.base32}.nar.xz",
            compression="xz",
            file_hash=file_hash,
            file_size=len(compressed),
        )
        (made.cache / entry.url).write_bytes(compressed)
        (made.cache / f"{output.hash_part}.narinfo").write_bytes(print_narinfo(entry))
        with (made.directory / "offered").open("a") as names:
            names.write(f"{output}\n")


def _sizes(count: int, total: float, chance: random.Random) -> list[int]:
    """Sizes of which a few make up most of the total."""
    weights = [chance.lognormvariate(0, 1.8) for _ in range(count)]
    return [max(1, round(weight * total / sum(weights))) for weight in weights]


def _text(size: int, chance: random.Random, words: Sequence[str]) -> str:
    """As many bytes, of words that repeat."""
    return " ".join(chance.choices(words, k=max(1, size // 5 + 1)))[: max(0, size)]
