"""``prefetch sync`` of a closure, against Nix's copies and against C tools.

The upstream is nginx on loopback. The C tools do the work that cannot be avoided: ``curl`` fetches
the NARs, as many at once as prefetch does, then ``xz`` or ``zstd`` decompresses each into
``openssl``, which hashes it, as many at once as there are cores. They ask for no narinfo, check no
signature and no structure, and what they write is not made to last (fsync).
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.closures import SETTINGS, closure
from benchmarks.measuring import Run, compare, run
from benchmarks.table import Row
from benchmarks.web import nginx
from mirror.nix.stores import remove_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.closures import Closure

_CONCURRENCY: Final = 16
_DECOMPRESSORS: Final = {"none": "cat", "xz": "xz -dc", "zstd": "zstd -dcq"}
_LATENCY_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Bench:
    """Where runs write, and what they fetch."""

    scratch: Path
    closure: Closure

    def sync(self, upstream: str, to: str) -> Run:
        """A sync into an empty destination, by the user's own command."""
        self._clear()
        hosts = self.scratch / "hosts.txt"
        hosts.write_text(f"closure = {self.closure.derivation} level=runtime\n")
        return run(
            [
                *(sys.executable, "-m", "mirror", "sync", hosts, "--to", to),
                *("--store", self.closure.store, "--substituter", upstream),
                *("--trusted-key", self.closure.public_key),
            ],
            environment=self.environment,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of an earlier run is known: neither to prefetch nor to Nix."""
        return {
            "XDG_CACHE_HOME": str(self.scratch / "home/cache"),
            "XDG_STATE_HOME": str(self.scratch / "home/state"),
            "NIX_CONFIG": "\n".join(
                (*SETTINGS, f"trusted-public-keys = {self.closure.public_key}")
            ),
        }

    def nix_copy(self, *arguments: str) -> Run:
        """Nix's own way."""
        self._clear()
        return run(["nix", "copy", *arguments, self.closure.root], environment=self.environment)

    def c_tools(self, upstream: str, compression: str) -> Run:
        """Download, decompress, hash."""
        self._clear()
        to = self.scratch / "out"
        to.mkdir()
        urls = self.scratch / "urls"
        files = sorted(each.name for each in (self.closure.cache(compression) / "nar").iterdir())
        urls.write_text(
            "".join(f'url = "{upstream}/nar/{each}"\noutput = "{to}/{each}"\n' for each in files)
        )
        download = (
            f"curl -sS --fail --parallel --parallel-immediate --parallel-max {_CONCURRENCY} "
            f"-K {shlex.quote(str(urls))}"
        )
        return run(["sh", "-c", f"{download} && {_hashing(to, compression)}"])

    def written(self, compression: str) -> Run:
        """What the disk takes for the NARs' bytes: in one file, which is made to last."""
        self._clear()
        to = self.scratch / "out"
        to.mkdir()
        nars = shlex.quote(str(self.closure.cache(compression) / "nar"))
        command = f"find {nars} -type f -exec cat {{}} +"
        return run(["sh", "-c", f"{command} | dd of={to}/all bs=1M iflag=fullblock conv=fsync"])

    def hashed(self, compression: str) -> Run:
        """The same without the download, of what a sync has put there."""
        return run(["sh", "-c", _hashing(self.scratch / "out/nar", compression)])

    def _clear(self) -> None:
        for name in ("out", "home"):
            remove_store(self.scratch / name)


def _hashing(directory: Path, compression: str) -> str:
    """A shell command that decompresses and hashes each file of a directory."""
    each = f'{_DECOMPRESSORS[compression]} "$1" | openssl dgst -sha256'
    return (
        f"find {shlex.quote(str(directory))} -type f -print0 | "
        f"xargs -0 -n 1 -P {os.cpu_count()} sh -c {shlex.quote(each)} sh"
    )


@contextlib.contextmanager
def bench(paths: int, size: int) -> Iterator[Bench]:
    """A bench for a closure of this many paths and bytes."""
    made = closure(paths, size)
    with tempfile.TemporaryDirectory(prefix="prefetch-benchmark-") as scratch:
        try:
            yield Bench(Path(scratch), made)
        finally:
            remove_store(Path(scratch) / "out")


def rows(paths: int = 1000, size: int = 1_000_000_000, rounds: int = 3) -> Iterator[Row]:
    """Measure every row."""
    with bench(paths, size) as at:
        made = at.closure
        out = at.scratch / "out"
        directory, store = str(out), f"local?root={out}"
        with nginx(made.cache("none")) as upstream:
            # Minutes of compressing, which differ little from each other.
            (xz,) = compare(
                1,
                functools.partial(at.sync, upstream, directory),
                functools.partial(at.nix_copy, "--from", made.store, "--to", f"file://{out}"),
            )
            yield Row.of("sync to a cache directory", "`nix copy --to file://`", xz, reach=1 / 15)
            plainly = f"file://{out}?compression=none"
            plain, disk = compare(
                rounds,
                functools.partial(at.sync, upstream, directory),
                functools.partial(at.nix_copy, "--from", made.store, "--to", plainly),
                functools.partial(at.written, "none"),
            )
            yield Row.of(
                "the same", "`nix copy --to 'file://…?compression=none'`", plain, reach=1 / 4
            )
            yield Row.of("the same", "`dd conv=fsync` of as many bytes", disk, reach="none")
        for pause in (0.0, _LATENCY_SECONDS):
            for compression in ("none", "xz", "zstd"):
                with nginx(made.cache(compression), pause_seconds=pause) as upstream:
                    (compared,) = compare(
                        rounds,
                        functools.partial(at.sync, upstream, directory),
                        functools.partial(at.c_tools, upstream, compression),
                    )
                late = f", {pause * 1000:.0f} ms a request" if pause else ""
                yield Row.of(
                    f"sync from {compression}{late}",
                    "C tools",
                    compared,
                    reach=1.1 if pause else 1.3,
                )
        for compression in ("none", "zstd"):
            with nginx(made.cache(compression)) as upstream:
                (compared,) = compare(
                    rounds,
                    functools.partial(at.sync, upstream, store),
                    functools.partial(at.nix_copy, "--from", upstream, "--to", store),
                )
            yield Row.of(
                f"sync from {compression} into a store",
                "`nix copy --from http://… --to local?root=…`",
                compared,
                reach=1,
            )
