"""Every kind of source of the demo's distribution, natively, also for a foreign platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.running import ScratchStore, run

from mirror.errors import SourceError
from mirror.formats.store_path import StorePath
from mirror.formats.verifier import NarVerifier
from mirror.nix.derivations import read_closure
from mirror.nix.stores import StoreLocation
from mirror.planning.fetchers.fixed_outputs import (
    BuilderOnly,
    Download,
    FixedOutput,
    GitCheckout,
    RestoreNar,
    Unpack,
)
from mirror.planning.fetchers.recognise import fixed_output, join
from mirror.sources.http.client import HttpClient
from mirror.sources.origins.hashed_mirror import HashedMirrors
from mirror.sources.origins.origin import Origins
from mirror.sources.source import Wanted

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix
    from mirror.sources.source import Source


def fixed_outputs(
    nix: Nix, upstream: Upstream, store: ScratchStore, system: str
) -> list[FixedOutput]:
    command = ("nix-instantiate", str(upstream.distribution), "-A", f"cached.{system}")
    made = run(nix, *command, store=store).stdout.split()
    roots = [StorePath.parse(word.partition("!")[0]) for word in made]
    closure = read_closure(StoreLocation.parse(store.url), roots)
    by_path: dict[StorePath, list[FixedOutput]] = {}
    for derivation in closure.values():
        if any(output.is_fixed for output in derivation.outputs.values()):
            found = fixed_output(derivation, closure.get)
            by_path.setdefault(found.path, []).append(found)
    return [join(several) for several in by_path.values()]


async def obtain(source: Source, fixed: FixedOutput) -> None:
    async with source.open(Wanted(path=fixed.path, fixed_output=fixed)) as opened:
        verifier = NarVerifier(opened.claim)
        async for chunk in opened.chunks:
            for _ in verifier.feed(chunk):
                pass
        assert verifier.finish().info.path == fixed.path


@pytest.mark.parametrize("system", ["x86_64-linux", "aarch64-linux"])
async def test_every_source_but_those_of_a_builder_is_obtained_natively(
    nix_stable: Nix,
    upstream: Upstream,
    scratch_store: ScratchStore,
    tmp_path: Path,
    system: str,
) -> None:
    every = fixed_outputs(nix_stable, upstream, scratch_store, system)
    kinds = {type(fixed.origin) for fixed in every}
    assert kinds >= {Download, Unpack, RestoreNar, GitCheckout, BuilderOnly}
    async with HttpClient() as client:
        origins = Origins(client, tmp_path / "scratch")
        mirrors = HashedMirrors([], client, tmp_path / "scratch")
        for fixed in every:
            if isinstance(fixed.origin, BuilderOnly):
                continue
            try:
                await obtain(origins, fixed)
            except SourceError:
                await obtain(mirrors, fixed)
