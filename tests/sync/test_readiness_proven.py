"""What ``check`` claims of systems and edits that nobody chose, proved by building them for real.

Hypothesis draws systems, edits of them, which edits were on the list, and what was lost afterwards,
from a fixed seed. Of each system and edit, what ``check`` says is compared with what real Nix does
where there is no network: it builds what is said to be ready, it fails at what is said not to be,
and what it says that it would build is what ``check`` counts. What was lost is synced again, and
then builds.

None can pass by what another left. Each system has a store, or a cache with an empty store for its
client, of its own; the store where all are evaluated has nothing that is asked about. All that is
claimed of a system and its edits is said, and compared with what Nix says, before the first of them
is built; and what one build leaves to the next, that one could have made as well, since there is
nothing to make it from but what was kept.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import shutil
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import Phase, given, settings
from rig.bench import Bench, Recorder
from rig.drawn_systems import DrawnSystem, drawn_systems
from rig.running import ScratchStore, collect_garbage, dry_run, run

from mirror.destinations import CacheDirectory, NixStore
from mirror.nix.derivations import read_closure
from mirror.nix.stores import StoreLocation
from mirror.planning.graph import Graph
from mirror.sync.offline.check import check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Sequence

    from mirror.demo.upstream import Upstream
    from mirror.destinations import Destination, Generation
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.sync.offline.check import Checked

EDITS: Final = 5
"""Of each system."""
AT_MOST: Final = 40
"""So many systems are drawn; fewer are tried."""


@dataclass(kw_only=True)
class Tally:
    """What was proved: root derivations, by what was claimed of them before anything was mended.

    It ``is_enough`` once there are so many different ones, so many of them claimed either way.
    """

    least: int
    least_of_each: int
    ready: set[StorePath] = field(default_factory=set)
    denied: set[StorePath] = field(default_factory=set)

    @property
    def is_enough(self) -> bool:
        fewer = min(len(self.ready), len(self.denied))
        return len(self.ready | self.denied) >= self.least and fewer >= self.least_of_each


class Proof:
    """One system that was drawn, in a directory of its own, with all that is done with it."""

    def __init__(self, bench: Bench, nix: Nix, drawn: DrawnSystem) -> None:
        self._bench = bench
        self._drawn = drawn
        search = f"nixpkgs={bench.upstream.nixpkgs}"
        self._nix = replace(nix, environment={**nix.environment, "NIX_PATH": search})
        is_store = drawn.destination == "store"
        self._place = bench.empty_store("client") if is_store else bench.directory / "cache"
        self._edits = self._write()

    async def carry_out(self, tally: Tally) -> None:
        await self._sync(self._line(self._drawn.listed), build=self._drawn.is_built)
        is_whole = not await self._lose()
        claims = await self._claims()
        self._prove(claims)
        tally.denied |= {claim.root for claim in claims if claim.root and not claim.is_ready}
        tally.ready |= {claim.root for claim in claims if claim.root and claim.is_ready}
        if is_whole:
            assert all(claim.is_ready for claim in claims[: 1 + self._drawn.listed])
            return
        await self._sync(self._line(EDITS))
        self._collect_garbage()
        mended = await self._claims()
        assert all(claim.is_ready for claim in mended)
        self._prove(mended)

    def _write(self) -> list[str]:
        """Write the system's file and those of its edits, as a user has them."""
        directory = self._bench.directory / "user"
        directory.mkdir()
        if self._drawn.kind == "flake":
            shutil.copytree(self._bench.upstream.distribution, directory / "flake")
            (directory / "flake/hosts/laptop.nix").write_text(self._drawn.module)
        else:
            (directory / "system.nix").write_text(self._drawn.module)
        edits = [directory / f"edit-{number}.nix" for number in range(EDITS)]
        for file, text in zip(edits, self._drawn.edits, strict=True):
            file.write_text(text)
        return [str(file) for file in edits]

    def _line(self, edits: int) -> str:
        """The system as a list names it, with the first so many of its edits."""
        user = self._bench.directory / "user"
        name = f"path:{user}/flake#laptop" if self._drawn.kind == "flake" else f"{user}/system.nix"
        option = f"edits={','.join(self._edits[:edits])}" if edits else ""
        return f"it = {name} {self._drawn.options} {option}"

    async def _sync(self, line: str, *, build: bool = False) -> None:
        synced = await self._bench.sync(self._nix, line, self._place, build=build)
        assert synced.is_complete

    async def _lose(self) -> bool:
        """Let what was drawn for it go, with all that refers to it; whether that was anything."""
        async with self._bench.destination(self._nix, self._place) as destination:
            (generation,) = await destination.generations()
            if lost := await self._lost(generation, destination):
                rest = tuple(each for each in generation.paths if each not in lost)
                missing = tuple(sorted(lost))
                await destination.keep(replace(generation, number=2, paths=rest, missing=missing))
                await destination.forget(generation)
        if isinstance(self._place, Path):
            for path in lost:
                (self._place / f"{path.hash_part}.narinfo").unlink()
        # On a busy machine a process of Nix that is done may hold its temporary roots a while.
        for _ in range(100):
            if self._collect_garbage().isdisjoint(lost):
                return bool(lost)
            await asyncio.sleep(0.5)
        raise AssertionError(f"still there: {lost}")

    async def _lost(self, generation: Generation, destination: Destination) -> set[StorePath]:
        derivations = [each for each in generation.paths if each.is_derivation]
        store = StoreLocation.parse(self._bench.evaluation.url)
        graph = Graph(read_closure(store, derivations))
        outputs = [each for each in generation.paths if each in graph.makers]
        # By name: where busybox is another, hashes are others.
        outputs.sort(key=lambda path: (path.name, path))
        lost = {outputs[number % len(outputs)] for number in self._drawn.lost}
        infos = await destination.held(generation.paths)
        size = 0
        while len(lost) > size:
            size = len(lost)
            lost |= {path for path, info in infos.items() if not lost.isdisjoint(info.references)}
        return lost

    def _collect_garbage(self) -> set[str]:
        if isinstance(self._place, ScratchStore):
            return collect_garbage(self._nix, self._place)
        return set()

    async def _claims(self) -> list[Checked]:
        """What ``check`` says of the system and of all of its edits."""
        async with self._opened() as destination:
            checked = await check(
                self._bench.targets(self._line(EDITS)),
                self._nix,
                self._bench.recorder,
                store=self._bench.evaluation.url,
                destination=destination,
            )
        assert len(checked) == 1 + EDITS
        return checked

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Destination]:
        """The destination as ``check`` opens it, without its lock."""
        if isinstance(self._place, ScratchStore):
            location = StoreLocation.parse(self._place.url)
            async with NixStore.open(self._nix, location, exclusive=False) as store:
                yield store
        else:
            async with CacheDirectory.open(self._place, exclusive=False) as cache:
                yield cache

    def _prove(self, claims: Sequence[Checked]) -> None:
        """Have real Nix say what it would build, and then do it, where there is no network."""
        is_store = isinstance(self._place, ScratchStore)
        configuration = [
            f"substituters = {'' if is_store else f'file://{self._place}'}",
            f"substitute = {'false' if is_store else 'true'}",
            f"trusted-public-keys = {self._bench.upstream.public_key}",
            "download-attempts = 1",
        ]
        roots = [claim.root for claim in claims if claim.root is not None]
        assert len(roots) == len(claims), "each can be evaluated"
        copy = ("nix", "copy", "--derivation", "--no-check-sigs")
        evaluation = self._bench.evaluation
        with self._client() as client:
            run(self._nix, *copy, "--from", evaluation.url, "--to", client.url, *roots)
            would_build = functools.partial(self._would_build, client, configuration)
            causes = set()
            for claim in claims:
                assert claim.root is not None
                assert claim.readiness is not None
                assert claim.readiness.build == would_build(claim.root)
                causes |= {
                    (each.derivation, each.paths, each.cascade) for each in claim.readiness.missing
                }
            for derivation, paths, cascade in causes:
                assert derivation is not None
                assert cascade == len(would_build(self._outputs(derivation, paths)))
            ready = [claim.root for claim in claims if claim.is_ready and claim.root]
            denied = [claim.root for claim in claims if not claim.is_ready and claim.root]
            build = functools.partial(self._build, client, configuration)
            assert build(*ready) == "", "all that is claimed to be ready builds"
            for root in denied:
                assert build(root) != "", f"{root} builds, and was denied"

    def _would_build(
        self, client: ScratchStore, configuration: list[str], wanted: str
    ) -> frozenset[str]:
        """The derivations that Nix says it would build."""
        said = dry_run(self._nix, wanted, store=client, config=configuration)
        assert not said.unknown
        return said.build

    def _build(self, client: ScratchStore, configuration: list[str], *roots: StorePath) -> str:
        """Build for real; what Nix says of it if it fails."""
        command = ("nix-store", "--realise", *roots)
        built = run(
            self._nix, *command, store=client, config=configuration, offline=True, check=False
        )
        return built.stderr if built.returncode else ""

    def _outputs(self, derivation: StorePath, paths: Collection[StorePath]) -> str:
        """Those outputs of a derivation, as Nix is asked for them."""
        store = StoreLocation.parse(self._bench.evaluation.url)
        outputs = read_closure(store, [derivation])[derivation].outputs
        return f"{derivation}!{','.join(n for n, each in outputs.items() if each.path in paths)}"

    @contextmanager
    def _client(self) -> Iterator[ScratchStore]:
        """The store to build in: the destination itself, or that of a client who has nothing."""
        if isinstance(self._place, ScratchStore):
            yield self._place
            return
        client = ScratchStore(self._bench.directory / "client")
        try:
            yield client
        finally:
            client.remove()


def prove(nix: Nix, upstream: Upstream, directory: Path, tally: Tally) -> None:
    """Carry out proofs until there are enough."""
    evaluation = ScratchStore(directory / "evaluation")
    numbers = itertools.count()

    @settings(
        max_examples=AT_MOST,
        derandomize=True,
        database=None,
        deadline=None,
        # A smaller example is not worth the time that it takes to find one.
        phases=[Phase.generate],
    )
    @given(drawn_systems(edits=EDITS))
    def carry_out(drawn: DrawnSystem) -> None:
        if tally.is_enough:
            return
        bench = Bench(
            upstream=upstream,
            directory=directory / str(next(numbers)),
            evaluation=evaluation,
            recorder=Recorder(),
        )
        bench.directory.mkdir()
        try:
            asyncio.run(Proof(bench, nix, drawn).carry_out(tally))
        finally:
            for store in bench.stores:
                store.remove()

    try:
        carry_out()
    finally:
        evaluation.remove()
    assert tally.is_enough


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_what_is_claimed_of_any_system_and_edit_is_what_nix_does(
    nix_stable: Nix, upstream: Upstream, tmp_path: Path
) -> None:
    prove(nix_stable, upstream, tmp_path, Tally(least=52, least_of_each=18))


@pytest.mark.timeout(1800)
def test_so_it_is_with_another_version(nix_newest: Nix, upstream: Upstream, tmp_path: Path) -> None:
    prove(nix_newest, upstream, tmp_path, Tally(least=6, least_of_each=2))
