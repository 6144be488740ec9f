"""A closure built by real Nix, and the binary caches that real Nix makes of it.

The sizes of its paths are spread as those of packages are: most are small, a few make up most of
the bytes. Its files compress about as well as programs and their texts do. Made once for each size,
and kept in ``$XDG_CACHE_HOME/prefetch/benchmarks``.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measuring import run
from benchmarks.places import made_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CACHES: Final = ("none", "xz", "zstd")
"""The compressions in which there is a cache."""

_EXPRESSION: Final = Path(__file__).with_name("closure.nix")
SETTINGS: Final = (
    "extra-experimental-features = nix-command",
    "substituters =",
    "build-users-group =",
)
"""Lines of ``NIX_CONFIG`` for all that is done with a closure: no cache is asked by itself."""

_BLOCK: Final = 512
_POOL_BYTES: Final = 64 << 20
_FILES_A_PATH: Final = 20
_KEY_NAME: Final = "benchmarks-1"


@dataclass(frozen=True, slots=True)
class Closure:
    """A closure of ``paths`` store paths, of about ``size`` bytes as NARs, in ``directory``."""

    directory: Path
    paths: int
    size: int

    @property
    def store(self) -> str:
        """The URL of the store that it was built in."""
        return f"local?root={self.directory / 'store'}"

    @property
    def root(self) -> str:
        """The path that refers to all the others."""
        return (self.directory / "root").read_text()

    @property
    def derivation(self) -> str:
        """What makes :attr:`root`."""
        return (self.directory / "derivation").read_text()

    @property
    def public_key(self) -> str:
        """What signed the caches."""
        return (self.directory / "public-key").read_text()

    def cache(self, compression: str) -> Path:
        """The directory of the cache with this compression, one of :data:`CACHES`."""
        return self.directory / compression


def closure(paths: int, size: int) -> Closure:
    """The closure of this many paths and bytes; made, if it is not there yet.

    Raises:
        RuntimeError: Nix could not build it.

    """
    text = _EXPRESSION.read_bytes() + json.dumps(_paths(paths, size)).encode()
    name = f"closure-{paths}-{size}-{hashlib.sha256(text).hexdigest()[:12]}"

    def make(directory: Path) -> None:
        _make(Closure(directory=directory, paths=paths, size=size))

    return Closure(directory=made_once(name, make), paths=paths, size=size)


def nix(*command: str | Path, store: str, settings: Iterable[str] = ()) -> str:
    """Run one of Nix's programs on a store; what it prints.

    Raises:
        RuntimeError: it failed; the text is what it said.

    """
    lines = (*SETTINGS, *settings)
    environment = {"NIX_CONFIG": "\n".join(lines)}
    ran = run([*command, "--store", store], environment=environment, reads_output=True)
    return ran.output.strip()


def _make(made: Closure) -> None:
    directory = made.directory
    expression = directory / "expression"
    expression.mkdir()
    shutil.copy(_EXPRESSION, expression)
    (expression / "paths.json").write_text(json.dumps(_paths(made.paths, made.size)))
    (expression / "pool").write_bytes(_pool())
    file = expression / _EXPRESSION.name
    derivation = nix("nix-instantiate", file, store=made.store)
    (directory / "derivation").write_text(derivation)
    busybox = shutil.which("busybox")
    built = nix(
        *("nix-store", "--realise", derivation),
        store=made.store,
        settings=("sandbox = true", f"sandbox-paths = /bin/busybox={busybox}", "max-jobs = 4"),
    )
    (directory / "root").write_text(built)
    key = directory / "secret-key"
    key.write_text(_nix_key(("generate-secret", "--key-name", _KEY_NAME), b""))
    public = _nix_key(("convert-secret-to-public",), key.read_bytes())
    (directory / "public-key").write_text(public)
    for compression in CACHES:
        url = f"file://{made.cache(compression)}?compression={compression}&secret-key={key}"
        nix("nix", "copy", "--to", url, built, store=made.store)


def _nix_key(command: Sequence[str], text: bytes) -> str:
    return (
        subprocess.run(
            ["nix", "key", *command],
            input=text,
            env={**os.environ, "NIX_CONFIG": "\n".join(SETTINGS)},
            stdout=subprocess.PIPE,
            check=True,
        )
        .stdout.decode()
        .strip()
    )


def _paths(count: int, size: int) -> list[dict[str, object]]:
    """Paths, of which each refers to some before it, and the last to all that are left."""
    chance = random.Random(count)
    weights = [chance.lognormvariate(0, 2) for _ in range(count)]
    scale = size / sum(weights)
    unused = set(range(count - 1))
    paths: list[dict[str, object]] = []
    for number, weight in enumerate(weights):
        last = number == count - 1
        references = sorted(chance.sample(range(number), min(number, chance.randrange(6))))
        if last:
            references = sorted(unused)
        unused.difference_update(references)
        each = max(1, int(weight * scale / _FILES_A_PATH / _BLOCK))
        files = [
            f"file-{index}:{chance.randrange(_POOL_BYTES // _BLOCK - each)}:{each}"
            for index in range(_FILES_A_PATH)
        ]
        paths.append(
            {"name": f"package-{number}-1.0", "files": " ".join(files), "references": references}
        )
    return paths


def _pool() -> bytes:
    """Half of it text, half of it bytes that repeat a little: some three to one by xz."""
    chance = random.Random(_POOL_BYTES)
    words = [chance.randbytes(chance.randrange(2, 6)).hex() for _ in range(4096)]
    pieces: list[bytes] = []
    size = 0
    while size < _POOL_BYTES:
        text = " ".join(chance.choices(words, k=8192)).encode()
        code = chance.randbytes(len(text) // 4)
        piece = text + b"".join(
            code[at : at + 64] * chance.randrange(1, 7) for at in range(0, len(code), 64)
        )
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)[:_POOL_BYTES]
