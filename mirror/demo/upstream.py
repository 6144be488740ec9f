"""The upstream of the demo: a binary cache and the origins of all sources, on loopback.

:func:`build_upstream` makes the files: it writes the sources, builds the distribution's packages
with real Nix in a scratch store, and copies what a distribution's cache would have into a signed
binary cache. Built once, it can be served many times, at any port: the addresses of sources change
no output path. :func:`serve_upstream` builds what is not built yet, and serves it.

The cache has every package but one that its licence forbids, and few sources; it has nothing of the
hosts' own (``etc``, units, the system itself). The other sources are at their origins only.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.demo.busybox import find_busybox
from mirror.demo.sources import write_sources
from mirror.demo.web import WebServer, serve_directory
from mirror.errors import ToolError
from mirror.nix.stores import remove_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mirror.nix.command import Completed, Nix

DISTRIBUTION: Final = Path(__file__).with_name("distribution")
KEY_NAME: Final = "demo-upstream-1"
SYSTEMS: Final = ("x86_64-linux", "aarch64-linux")

_OFFLINE: Final = {
    "NIX_CONFIG": "\n".join(  # noqa: FLY002 - one setting a line
        (
            "substituters =",
            "build-users-group =",
            "extra-platforms = aarch64-linux",
            "sandbox = true",
            "max-jobs = 4",
        )
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A running upstream.

    ``distribution`` is a directory with ``flake.nix``, ``default.nix``, ``hosts/`` and
    ``nixpkgs/``, whose sources are at ``origin_url``. ``public_key`` is the cache's, as
    ``trusted-public-keys`` has it, and its other half is in ``secret_key_file``. ``requests`` grows
    by ``GET /cache/…`` or ``GET /origin/…`` with each request.
    """

    distribution: Path
    cache_url: str
    origin_url: str
    public_key: str
    secret_key_file: Path
    cache_directory: Path
    origin_directory: Path
    requests: list[str]

    @property
    def nixpkgs(self) -> Path:
        """The value of ``<nixpkgs>``, for ``-I nixpkgs=``."""
        return self.distribution / "nixpkgs"


@contextlib.asynccontextmanager
async def serve_upstream(
    nix: Nix, directory: Path, *, distribution: Path | None = None
) -> AsyncIterator[Upstream]:
    """Build the upstream in ``directory`` unless it is there, and serve it on loopback.

    ``distribution`` is where the served distribution's files are written, by default within
    ``directory``; give each server its own if several serve one ``directory``.

    Raises:
        ToolError: Nix, git or a static busybox cannot be used.

    """
    if not (directory / "pins.json").exists():
        await build_upstream(nix, directory)
    distribution = distribution or directory / "distribution"
    async with serve_directory(directory) as server:
        origin_url = f"{server.url}/origin"
        write_distribution(distribution, origin_url, directory / "pins.json")
        yield Upstream(
            distribution=distribution,
            cache_url=f"{server.url}/cache",
            origin_url=origin_url,
            public_key=(directory / "key.public").read_text().strip(),
            secret_key_file=directory / "key.secret",
            cache_directory=directory / "cache",
            origin_directory=directory / "origin",
            requests=server.requests,
        )


async def build_upstream(nix: Nix, directory: Path) -> None:
    """Make ``cache/``, ``origin/``, the cache's key and ``pins.json`` in ``directory``.

    Raises:
        ToolError: Nix, git or a static busybox cannot be used.

    """
    scratch = _fresh_scratch(directory)
    pins = await write_sources(
        nix, await find_busybox(nix), directory / "origin", scratch / "sources"
    )
    pins_file = scratch / "pins.json"
    pins_file.write_text(json.dumps(pins, indent=1, sort_keys=True))
    secret_key = await _make_key(nix, directory)
    try:
        async with serve_directory(directory) as server:
            await _fill_cache(nix, directory, server, pins_file, secret_key)
        pins_file.rename(directory / "pins.json")
    finally:
        remove_store(scratch)


def write_distribution(target: Path, origin_url: str, pins_file: Path) -> None:
    """Write the distribution's files, with its sources at ``origin_url``, over what is there."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(DISTRIBUTION, target)
    pins = {"origin": origin_url, "sources": json.loads(pins_file.read_bytes())}
    (target / "pins.json").write_text(json.dumps(pins, indent=1, sort_keys=True))


def _fresh_scratch(directory: Path) -> Path:
    """A directory to work in; what an interrupted build left is removed."""
    scratch = directory / "scratch"
    for leftover in (scratch, directory / "cache", directory / "origin"):
        remove_store(leftover)
    scratch.mkdir(parents=True)
    return scratch


async def _make_key(nix: Nix, directory: Path) -> Path:
    """Have Nix make the cache's key.

    ``nix-store --generate-binary-cache-key`` would open the machine's own store, which an ordinary
    user without a daemon cannot.
    """
    secret, public = directory / "key.secret", directory / "key.public"
    completed = await _run(nix, ["nix", "key", "generate-secret", "--key-name", KEY_NAME])
    secret.write_bytes(completed.stdout)
    completed = await _run(nix, ["nix", "key", "convert-secret-to-public"], stdin=completed.stdout)
    public.write_bytes(completed.stdout)
    return secret


async def _fill_cache(
    nix: Nix, directory: Path, server: WebServer, pins_file: Path, secret_key: Path
) -> None:
    """Build what the cache has, in a scratch store, and copy it into ``directory/cache``."""
    distribution = directory / "scratch/distribution"
    store = f"local?root={directory / 'scratch/store'}"
    write_distribution(distribution, f"{server.url}/origin", pins_file)
    instantiated = await _check(
        nix,
        [
            "nix-instantiate",
            *("--store", store, str(distribution)),
            *(argument for system in SYSTEMS for argument in ("-A", f"cached.{system}")),
        ],
    )
    built = await _check(nix, ["nix-store", "--store", store, "--realise", *instantiated])
    paths = sorted(set(built))
    # As a real cache, it has not one compression only.
    older = [path for path in paths if "-lib" in path]
    for compression, part in (("zstd", older), ("xz", paths)):
        url = f"file://{directory / 'cache'}?compression={compression}&secret-key={secret_key}"
        await _check(nix, ["nix", "copy", "--store", store, "--to", url, *part])
    cache_info = directory / "cache/nix-cache-info"
    cache_info.write_text("StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n")


async def _check(nix: Nix, command: Sequence[str]) -> list[str]:
    """Run one of Nix's programs; what it printed, by words."""
    return (await _run(nix, command)).stdout.decode().split()


async def _run(nix: Nix, command: Sequence[str], *, stdin: bytes | None = None) -> Completed:
    completed = await nix.run(command, stdin=stdin, environment=_OFFLINE)
    if completed.returncode != 0:
        # The first error is the cause; the last only names all that could not be built for it.
        lines = completed.stderr.splitlines()
        errors = [number for number, line in enumerate(lines) if line.startswith("error:")]
        first = errors[0] if errors else len(lines)
        cause = "\n".join(line[:500] for line in lines[max(first - 10, 0) : first + 12])
        raise ToolError(f"the demo's upstream cannot be built:\n{cause}")
    return completed
