"""``prefetch sync`` of a system of thousands of small paths, against Nix's copy of the same.

    python -m benchmarks small

Into a binary cache directory on this machine's disk. Nix copies without syncing what it writes. In
the last row each flush of a file takes 10 ms longer, as it does on a NAS or an SD card (``strace``
delays it); it is for the time to be seen, not the peak.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.closures import SETTINGS
from benchmarks.measuring import Run, compare, run
from benchmarks.small_paths import SmallPaths, small_paths
from benchmarks.table import Row
from mirror.nix.stores import remove_store

if TYPE_CHECKING:
    from collections.abc import Iterator

_REACH_SECONDS: Final = 10
_FLUSHES: Final = "fsync,fdatasync,syncfs,sync_file_range"
_SLOW_DISK: Final = (
    *("strace", "-D", "-f", "-qqq", "--seccomp-bpf", "-o", "/dev/null"),
    *("-e", f"trace={_FLUSHES}", "-e", f"inject={_FLUSHES}:delay_exit=10000"),
)


@dataclass(frozen=True)
class Bench:
    """Where runs write, and what they take."""

    scratch: Path
    paths: SmallPaths

    def sync(self, *before: str) -> Run:
        """A sync into an empty directory; ``before`` is put in front of the command."""
        self._clear()
        hosts = self.scratch / "hosts.txt"
        hosts.write_text(f"system = {self.paths.root} level=rebuild\n")
        return run(
            [
                *before,
                *(sys.executable, "-m", "mirror", "sync", hosts, "--to", self.out),
                *("--store", self.paths.store.url, "--substituter", f"file://{self.paths.cache}"),
                *("--trusted-key", self.paths.public_key),
            ],
            environment=self._environment,
        )

    def nix_copy(self, compression: str, *before: str) -> Run:
        """Nix's copies of the same: of the derivations, and of what the cache has."""
        self._clear()
        to = f"--no-check-sigs --to 'file://{self.out}?compression={compression}'"
        names = self.scratch / "names"
        names.write_text("\n".join(self.paths.offered))
        copies = (
            f"nix copy --from '{self.paths.store.url}' {to} --derivation {self.paths.root}",
            f"nix copy --from file://{self.paths.cache} {to} $(cat {names})",
        )
        return run([*before, "sh", "-ec", "\n".join(copies)], environment=self._environment)

    @property
    def out(self) -> Path:
        """The directory that is written."""
        return self.scratch / "out"

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "XDG_CACHE_HOME": str(self.scratch / "home/cache"),
            "XDG_STATE_HOME": str(self.scratch / "home/state"),
            "NIX_CONFIG": "\n".join(SETTINGS),
        }

    def _clear(self) -> None:
        for name in ("out", "home"):
            remove_store(self.scratch / name)


@contextlib.contextmanager
def bench(paths: SmallPaths) -> Iterator[Bench]:
    """A bench for these paths."""
    with tempfile.TemporaryDirectory(prefix="prefetch-benchmark-") as name:
        yield Bench(Path(name), paths)


def rows(scale: float = 1, rounds: int = 5) -> Iterator[Row]:
    """Measure the rows, with ``scale`` times as many paths as a NixOS has."""
    made = small_paths(scale)
    with bench(made) as at:
        what = f"sync of {made.count:,} small paths"
        by_zstd, plain = compare(
            rounds,
            at.sync,
            functools.partial(at.nix_copy, "zstd"),
            functools.partial(at.nix_copy, "none"),
        )
        yield Row.of(what, "`nix copy --to 'file://…?compression=zstd'`", by_zstd, reach=1)
        yield Row.of("the same", "`nix copy --to 'file://…?compression=none'`", plain, reach=1)
        (slow,) = compare(
            1,
            functools.partial(at.sync, *_SLOW_DISK),
            functools.partial(at.nix_copy, "zstd", *_SLOW_DISK),
        )
        yield Row.of(
            "the same, 10 ms a flush",
            "the first of these, which flushes nothing",
            slow,
            reach=f"{_REACH_SECONDS} s",
        )
