"""What ``check`` says of a real NixOS's cache that was damaged is what real Nix does.

``PREFETCH_LOSSES`` says how often it is damaged; what is drawn is the same each time.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
from rig.bench import Recorder
from rig.kept_cache import KeptCache
from rig.offline_truth import OfflineTruth
from rig.real_nixos import LAPTOP
from rig.running import dry_run

from mirror.destinations import CacheDirectory
from mirror.sync.offline.check import judge
from mirror.sync.prepare import evaluate_offline
from mirror.sync.run import sync
from mirror.sync.sync_options import SyncOptions
from mirror.sync.workshop import open_workshop

if TYPE_CHECKING:
    from pathlib import Path

    from rig.losses import Loss
    from rig.offline_truth import Truth
    from rig.real_nixos import RealNixos

    from mirror.formats.store_path import StorePath
    from mirror.sync.offline.check import Checked

LOSSES: Final = int(os.environ.get("PREFETCH_LOSSES", "200"))
_SEED: Final = 200

pytestmark = pytest.mark.timeout(14_400)


@dataclass(kw_only=True)
class Tally:
    """How often what is claimed of a damaged cache was what Nix does, and where it was not."""

    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def compare(self, claim: Checked, truth: Truth, losses: list[Loss]) -> None:
        assert claim.readiness is not None, claim.problem
        kind = "ready" if claim.is_ready else "not ready"
        agrees = claim.is_ready == truth.is_ready
        self.seen[kind if agrees else f"falsely {kind}"] += 1
        differing = sorted(claim.readiness.build ^ truth.build)
        # Where it fails, what is broken may have stopped Nix before it came to all of them.
        same = not differing or not (claim.is_ready or truth.is_ready)
        self.seen["another set to build"] += not same
        if agrees and same:
            return
        causes = [f"{each.paths} {each.problems}" for each in claim.readiness.missing]
        lines = [
            f"{claim.edit or 'as it is'}: {kind}, Nix: {truth.failures[:3] or 'ready'}",
            *map(str, losses),
            f"only one of both builds: {', '.join(differing[:3])}",
            *causes[:3],
        ]
        self.wrong.append("\n  ".join(lines))
        sys.stdout.write(f"{self.wrong[-1]}\n")


async def test_what_check_says_of_a_damaged_cache_is_what_nix_does(
    real: RealNixos, tmp_path: Path
) -> None:
    cache = await kept(real, tmp_path / "kept")
    truth = OfflineTruth.about(real, cache, tmp_path / "view")
    laptop = next(each for each in real.targets if each.name == LAPTOP)
    evaluation = await evaluate_offline([laptop], real.nix, Recorder(), store=real.store.url)
    kinds = kinds_of_paths(real, cache)
    random = Random(_SEED)
    tally = Tally()
    for number in range(LOSSES):
        losses = cache.draw(random, kinds) if number else []
        edited = random.choice(real.evaluated[LAPTOP].edits)
        asked = replace(real.evaluated[LAPTOP], edits=(edited,))
        with cache.lost(losses, aside=tmp_path / "aside"):
            flaws = truth.flaws(cache.befallen(losses))
            async with CacheDirectory.open(
                cache.directory, exclusive=False, reads_contents=True
            ) as destination:
                claims = await judge(replace(evaluation, results=((laptop, asked),)), destination)
        with truth.seen(flaws):
            for claim in claims:
                assert claim.root is not None
                found = truth.of(claim.root, flaws, evaluates=claim.edit is not None)
                tally.compare(claim, found, losses)
    sys.stdout.write(f"{LOSSES} losses: {dict(tally.seen)}\n")
    assert not tally.wrong, "\n\n".join(tally.wrong)
    assert min(tally.seen["ready"], tally.seen["not ready"]) >= LOSSES // 10


async def kept(real: RealNixos, directory: Path) -> KeptCache:
    """What a sync of the laptop with all edits keeps."""
    laptop = [each for each in real.targets if each.name == LAPTOP]
    opening = open_workshop(real.nix, real.options, Recorder())
    async with CacheDirectory.open(directory) as destination:
        synced = await sync(laptop, opening, destination, Recorder(), SyncOptions(jobs=8))
    assert synced.is_complete
    return KeptCache.read(directory)


def kinds_of_paths(real: RealNixos, cache: KeptCache) -> list[list[StorePath]]:
    """What the laptop takes (as likely as all else), what only edits take, derivations, sources."""
    said = dry_run(real.nix, real.roots[LAPTOP], store=real.store, caches=[real.cache.url])
    paths = sorted(cache.narinfos)
    mine = [path for path in paths if path in said.substitute]
    derivations = [path for path in paths if path.is_derivation]
    sources = [path for path in paths if path in real.graph.input_sources]
    others = sorted({*paths} - {*mine, *derivations, *sources})
    return [mine, mine, mine, others, derivations, sources]
