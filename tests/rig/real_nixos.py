"""A real NixOS, as a checkout of nixpkgs makes it: evaluated once, with a cache invented for it.

``PREFETCH_NIXPKGS`` names the checkout, which the newest Nix has to see in its own root: below
``/tmp``, ``/home``, ``/root``, ``/srv`` or ``/opt``. There is none in continuous integration.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.formats.store_path import StorePath
from mirror.nix.derivations import read_closure
from mirror.nix.evaluation.evaluate import Evaluated, evaluate_all
from mirror.nix.evaluation.evaluators import Evaluators
from mirror.nix.stores import StoreLocation
from mirror.planning.graph import Graph
from mirror.planning.lists.list_file import parse_list
from mirror.planning.lists.targets import PathInstallable
from mirror.shipped import shipped_edits
from mirror.sources.http.settings import HttpSettings
from mirror.sync.workshop import WorkshopOptions
from rig.invented_cache import invent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.errors import EvaluationError
    from mirror.formats.derivation import Derivation
    from mirror.nix.command import Nix
    from mirror.planning.lists.targets import Target
    from rig.invented_cache import InventedCache
    from rig.running import ScratchStore

HERE: Final = Path(__file__).resolve().parents[1] / "real"
EDITS: Final = tuple(
    "package:htop" if name == "package" else name for name in sorted(shipped_edits())
)
LAPTOP, CROSS = "laptop", "laptop-aarch64"
_FOREIGN: Final = "aarch64-unknown-linux-gnu"
_SEED: Final = 2026


def checkout() -> Path | None:
    """The nixpkgs to evaluate with, if one is named."""
    named = os.environ.get("PREFETCH_NIXPKGS")
    return Path(named).absolute() if named else None


def with_nixpkgs(nix: Nix) -> Nix:
    """The Nix that finds the checkout as ``<nixpkgs>``."""
    return replace(nix, environment={**nix.environment, "NIX_PATH": f"nixpkgs={checkout()}"})


def trusting(nix: Nix, public_key: str) -> Nix:
    """The Nix that is set up to trust one key."""
    configuration = f"{nix.environment['NIX_CONFIG']}\ntrusted-public-keys = {public_key}"
    return replace(nix, environment={**nix.environment, "NIX_CONFIG": configuration})


def targets(*, edits: Sequence[str] = EDITS) -> list[Target]:
    """The laptop with shipped edits, and the same cross-compiled."""
    listed = f"{LAPTOP} = ./laptop.nix edits={','.join(edits)}\n{CROSS} = ./laptop-aarch64.nix\n"
    return parse_list(listed, file="real.txt", directory=HERE, shipped_edits=shipped_edits())


@dataclass(frozen=True, slots=True, kw_only=True)
class RealNixos:
    """What the targets are evaluated to in ``store``, which has no outputs, and a ``cache``."""

    nix: Nix
    store: ScratchStore
    targets: tuple[Target, ...]
    evaluated: Mapping[str, Evaluated]
    graph: Graph
    cache: InventedCache

    @property
    def roots(self) -> dict[str, StorePath]:
        """The root derivations: of the targets by their name, of the edits by theirs."""
        named = {name: each.root for name, each in self.evaluated.items()}
        for edit in self.evaluated[LAPTOP].edits:
            assert edit.root is not None, edit.problem
            named[edit.edit.name] = edit.root
        return named

    @property
    def options(self) -> WorkshopOptions:
        """How a run works with it: no network, one cache."""
        return WorkshopOptions(
            store=self.store.url,
            substituters=(self.cache.url,),
            trusted_keys=(self.cache.public_key,),
            archives=False,
            http=HttpSettings(attempts=1),
        )

    async def evaluate_again(
        self,
        nix: Nix,  # noqa: ARG002 - in the place of evaluate_all
        targets: Sequence[Target],
        *,
        store: StoreLocation,
        **_more: object,
    ) -> list[Evaluated | EvaluationError]:
        """What :func:`evaluate_all` gave of the targets; an evaluation takes seconds."""
        assert store.url == self.store.url
        return [self._remembered(each) for each in targets]

    def _remembered(self, target: Target) -> Evaluated:
        if isinstance(target.installable, PathInstallable):
            return Evaluated(target=target, root=StorePath(target.installable.path))
        known = self.evaluated[target.name]
        edits = tuple(each for each in known.edits if each.edit in target.edits)
        return replace(known, target=target, edits=edits)


async def evaluate_real(nix: Nix, store: ScratchStore, cache: Path) -> RealNixos:
    """Evaluate all of :func:`targets`, and invent a cache in the directory ``cache``.

    As a public cache does, it has the packages of this machine's own architecture and nothing that
    is cross-compiled.
    """
    nix = with_nixpkgs(nix)
    location = StoreLocation.parse(store.url)
    listed = targets()
    results = await evaluate_all(
        nix, listed, store=location, system="x86_64-linux", evaluators=Evaluators(1)
    )
    evaluated = {}
    for result in results:
        assert isinstance(result, Evaluated), result
        evaluated[result.target.name] = result
    roots = [root for each in evaluated.values() for root in each.roots]
    graph = Graph(read_closure(location, roots))
    native = frozenset(graph.reachable(evaluated[LAPTOP].roots))

    def is_cross_compiled(derivation: Derivation) -> bool:
        return derivation.path not in native and _FOREIGN in derivation.path.name

    invented = invent(graph, cache, seed=_SEED, lacks=is_cross_compiled)
    return RealNixos(
        nix=trusting(nix, invented.public_key),
        store=store,
        targets=tuple(listed),
        evaluated=evaluated,
        graph=graph,
        cache=invented,
    )


def register(nix: Nix, paths: Sequence[StorePath], *, store: ScratchStore) -> None:
    """Have Nix's database say that paths are valid, of which there is nothing on the disk."""
    program = shutil.which("nix-store", path=nix.environment["PATH"])
    assert program is not None
    no_hash, size, no_deriver, no_references = "0" * 64, "8", "", "0"
    listed = [line for path in paths for line in (path, no_hash, size, no_deriver, no_references)]
    subprocess.run(
        [program, "--load-db", "--store", store.url],
        input="".join(f"{line}\n" for line in listed),
        text=True,
        env=dict(nix.environment),
        capture_output=True,
        check=True,
    )
