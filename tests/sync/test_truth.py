"""``check`` tells the truth of a cache to which anything may have happened, as real Nix finds out.

Systems and edits are drawn as in :mod:`test_readiness_proven`, and synced into a cache directory.
Then files of it, at any depth, are taken away, cut short or altered, and of a system or an edit
that is asked about both ``check`` and real Nix say whether it can be built without a network, and
what would be built for it. Nix starts with this cache alone and an empty store, which has the
derivation of an edit, since whoever makes one evaluates it.

Each part has a system of its own, or a few. ``PREFETCH_TRUTH=10000`` draws as many pairs,
``PREFETCH_TRUTH_SEED=1`` others.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import Phase, given, seed, settings
from rig.bench import Bench, Recorder
from rig.drawn_systems import DrawnSystem, drawn_systems
from rig.losses import KINDS, Clients, Loss, copy_of, draw_losses, verdict
from rig.running import ScratchStore
from rig.thorough import thorough_after_the_first

from mirror.destinations import CacheDirectory
from mirror.formats.narinfo import parse_narinfo
from mirror.sync.offline.check import judge
from mirror.sync.prepare import evaluate_offline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from rig.losses import Verdict

    from mirror.demo.upstream import Upstream
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.sync.offline.check import Checked
    from mirror.sync.prepare import Evaluation

PAIRS: Final = int(os.environ.get("PREFETCH_TRUTH", "300"))
"""In all; each Nix is asked about half of them."""
SEED: Final = int(os.environ.get("PREFETCH_TRUTH_SEED", "0"))
EDITS: Final = 3
"""Of each system."""
PAIRS_OF_EACH: Final = 25
"""So many losses are tried with one system."""
PARTS: Final = max(1, PAIRS // 2 // PAIRS_OF_EACH)
"""So many tests they are, for each Nix."""
FOR_REAL: Final = 8
"""Each so-manieth time everything is built for real."""


@dataclass(kw_only=True)
class Tally:
    """How often ``check`` and Nix agreed, and all they disagreed about."""

    wanted: int
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def pairs(self) -> int:
        return self.seen.total()

    def compare(self, claim: Checked, truth: Verdict, about: str) -> None:
        assert claim.readiness is not None
        kind = "ready" if claim.is_ready else "not ready"
        agreed = claim.is_ready == truth.is_built
        self.seen[kind if agreed else f"falsely {kind}"] += 1
        claimed = claim.readiness.build
        if agreed and truth.agrees(claimed):
            return
        found = truth.build or frozenset()
        self.wrong.append(
            f"{claim.edit or 'the system'} is said to be {kind}; built: {truth.is_built}\n{about}\n"
            f"only check builds {sorted(claimed - found)}\n"
            f"only Nix builds {sorted(found - claimed)}\n"
            f"missing: {[(each.paths, each.problems) for each in claim.readiness.missing]}\n"
            f"{truth.words[-1500:]}"
        )


async def tell(
    bench: Bench,
    nix: Nix,
    drawn: DrawnSystem,
    random: Random,
    tally: Tally,
    draw: Callable[..., list[Loss]] = draw_losses,
) -> None:
    """Sync a drawn system, and compare what is said of it after losses, which ``draw`` draws."""
    search = f"nixpkgs={bench.upstream.nixpkgs}"
    configuration = (
        f"{nix.environment['NIX_CONFIG']}\ntrusted-public-keys = {bench.upstream.public_key}"
    )
    trusting = replace(
        nix, environment={**nix.environment, "NIX_PATH": search, "NIX_CONFIG": configuration}
    )
    cache = bench.directory / "cache"
    line = _write(bench, drawn)
    synced = await bench.sync(trusting, line, cache)
    assert synced.is_complete
    evaluation = await evaluate_offline(
        bench.targets(line), trusting, bench.recorder, store=bench.evaluation.url
    )
    graph = evaluation.graph
    every = {*graph.derivations, *graph.makers, *graph.input_sources}
    fixed = {path for path in graph.derivations if graph[path].is_fixed}
    clients = Clients(nix, bench.evaluation, bench.directory / "clients")
    for number in range(min(PAIRS_OF_EACH, tally.wanted - tally.pairs)):
        copy = bench.directory / f"copy-{number}"
        losses = draw(cache, random, among=every) if number else []
        copy_of(cache, copy, losses)
        claims = await _claims(evaluation, copy)
        claim = random.choice(claims)
        assert claim.root is not None
        client = bench.empty_store(f"client-{number}")
        clients.make(client, claim.root if claim.edit else None)
        truth = verdict(
            nix,
            copy,
            client,
            claim.root,
            key=bench.upstream.public_key,
            fixed=fixed,
            for_real=tally.pairs % FOR_REAL == 0,
        )
        about = "\n".join(f"{each} ({_about(cache, each)})" for each in losses)
        tally.compare(claim, truth, f"{drawn.options}\n{about}")
        client.remove()
        shutil.rmtree(copy)
    clients.remove()


def _about(cache: Path, loss: Loss) -> str:
    """The name of the path that a file belongs to."""
    if loss.file.endswith(".narinfo"):
        return (cache / loss.file).read_text().split("\n")[0].partition("-")[2]
    for each in cache.glob("*.narinfo"):
        if loss.file in each.read_text():
            return "NAR of " + each.read_text().split("\n")[0].partition("-")[2]
    return "?"


async def _claims(evaluation: Evaluation, cache: Path) -> list[Checked]:
    async with CacheDirectory.open(cache, exclusive=False, reads_contents=True) as destination:
        return await judge(evaluation, destination)


def _write(bench: Bench, drawn: DrawnSystem) -> str:
    """Write the system and its edits as a user has them; the line of a list that names them."""
    user = bench.directory / "user"
    user.mkdir()
    edits = [user / f"edit-{number}.nix" for number in range(EDITS)]
    for file, text in zip(edits, drawn.edits, strict=True):
        file.write_text(text)
    listed = f"edits={','.join(map(str, edits))}"
    if drawn.kind == "flake":
        shutil.copytree(bench.upstream.distribution, user / "flake")
        (user / "flake/hosts/laptop.nix").write_text(drawn.module)
        return f"it = path:{user}/flake#laptop {drawn.options} {listed}"
    (user / "system.nix").write_text(drawn.module)
    return f"it = {user}/system.nix {drawn.options} {listed}"


def compare(nix: Nix, upstream: Upstream, directory: Path, part: int) -> Tally:
    """Compare a part of the claims with what Nix does."""
    tally = Tally(wanted=PAIRS // 2 // PARTS)
    evaluation = ScratchStore(directory / "evaluation")
    numbers = itertools.count()
    random = Random(f"{SEED} {part}")

    @seed(f"{SEED} {part}")
    @settings(
        max_examples=2 * tally.wanted // PAIRS_OF_EACH + 2,
        database=None,
        deadline=None,
        phases=[Phase.generate],
    )
    @given(drawn_systems(edits=EDITS))
    def carry_out(drawn: DrawnSystem) -> None:
        number = next(numbers)
        # The first one is the simplest there is, whatever the seed.
        if tally.pairs >= tally.wanted or (part > 0 and number == 0):
            return
        bench = Bench(
            upstream=upstream,
            directory=directory / str(number),
            evaluation=evaluation,
            recorder=Recorder(),
        )
        bench.directory.mkdir()
        asyncio.run(tell(bench, nix, drawn, random, tally))

    try:
        carry_out()
    finally:
        evaluation.remove()
    assert tally.pairs == tally.wanted
    return tally


@pytest.mark.timeout(3600 + 4 * PAIRS)
@pytest.mark.parametrize("part", thorough_after_the_first(range(PARTS)))
def test_what_check_says_of_a_damaged_cache_is_what_nix_does(
    any_nix: Nix, upstream: Upstream, tmp_path: Path, part: int
) -> None:
    tally = compare(any_nix, upstream, tmp_path, part)
    assert not tally.wrong, f"{dict(tally.seen)}\n\n" + "\n\n".join(tally.wrong)
    assert min(tally.seen["ready"], tally.seen["not ready"]) >= tally.pairs // 10


def test_what_an_edit_evaluates_is_not_missed_as_a_reference(
    any_nix: Nix, upstream: Upstream, tmp_path: Path
) -> None:
    """A package that a cache has refers to a source, which whoever makes an edit has evaluated."""

    def draw(cache: Path, random: Random, *, among: Collection[StorePath]) -> list[Loss]:
        path = next(path for path in among if path.name == "hello-greeting.patch")
        narinfo = f"{path.hash_part}.narinfo"
        nar = parse_narinfo((cache / narinfo).read_bytes()).url
        return [Loss(random.choice(KINDS), random.choice((narinfo, nar)), random.random())]

    drawn = DrawnSystem(
        kind="file",
        destination="cache",
        options="full=dnsmasq",
        module="""{ pkgs, ... }: {
  systemd.services.cedar.serviceConfig.ExecStart = "${pkgs.hello}/bin/run";
}
""",
        edits=tuple(
            f'{{ networking.hostName = "{name}"; }}\n' for name in ("amber", "birch", "elm")
        ),
        listed=1,
        is_built=True,
        lost=(),
    )
    tally = Tally(wanted=12)
    bench = Bench(
        upstream=upstream,
        directory=tmp_path,
        evaluation=ScratchStore(tmp_path / "evaluation"),
        recorder=Recorder(),
    )
    asyncio.run(tell(bench, any_nix, drawn, Random(7), tally, draw))
    bench.evaluation.remove()
    assert tally.pairs == 12
    assert not tally.wrong, "\n\n".join(tally.wrong)
