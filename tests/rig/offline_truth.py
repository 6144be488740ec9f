"""What real Nix would make of a damaged cache directory, as the only cache of an empty store.

Where contents are invented nothing can be built of them, so real Nix is asked in parts:

- to copy each path that a damaged file is of into a store whose database has what it refers to.
  What is absent, or signed by nobody who is trusted, is *gone*: Nix goes on without it. What is
  damaged otherwise is *broken*: Nix fails when it comes to it.
- a dry run over a *view*: the narinfos without those of what is gone. A reference that the dry run
  knows nothing of cannot be had, and so what refers to it is built: its narinfo is taken out of the
  view, too, and the dry run is made again, until it knows everything.
- ``nix path-info --recursive`` of a root ``.drv``, once: a client that evaluates nothing takes all
  of it from the cache.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from mirror.formats.store_path import StorePath
from rig.real_nixos import register
from rig.running import ScratchStore, dry_run, run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from mirror.nix.command import Nix
    from mirror.planning.graph import Graph
    from rig.kept_cache import KeptCache
    from rig.real_nixos import RealNixos

Flaw = Literal["gone", "broken"]

_GONE: Final = (
    "there is no substituter that can build it",
    "does not exist in binary cache",
    "lacks a signature by a trusted key",
)
"""What Nix says of a path which it then looks for elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What Nix does: which derivations it builds, and why it fails; nothing, if it does not."""

    build: frozenset[str]
    failures: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        """Whether it builds what it is to."""
        return not self.failures


@dataclass(slots=True, kw_only=True)
class View:
    """The narinfos of a cache in a directory of their own, some of them taken out."""

    directory: Path
    kept: KeptCache
    referrers: Mapping[StorePath, Collection[StorePath]]
    out: set[StorePath] = field(default_factory=set)

    @classmethod
    def of(cls, kept: KeptCache, directory: Path) -> View:
        """Copy the narinfos of a cache that is whole."""
        directory.mkdir()
        shutil.copy(kept.directory / "nix-cache-info", directory)
        referrers: dict[StorePath, set[StorePath]] = {}
        for path, entry in kept.narinfos.items():
            shutil.copy(kept.directory / kept.files(path)[0], directory)
            for reference in entry.info.references:
                if reference != path:
                    referrers.setdefault(reference, set()).add(path)
        return cls(directory=directory, kept=kept, referrers=referrers)

    def take_out(self, paths: Collection[StorePath]) -> None:
        """Take out narinfos."""
        for path in paths:
            (self.directory / self.kept.files(path)[0]).unlink(missing_ok=True)
        self.out |= set(paths)

    def put_back(self) -> None:
        """Copy again what was taken out; the cache has to be whole."""
        for path in self.out:
            shutil.copy(self.kept.directory / self.kept.files(path)[0], self.directory)
        self.out.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineTruth:
    """Asks Nix about a cache that is damaged; ``store`` has the derivations and no output."""

    nix: Nix
    store: ScratchStore
    graph: Graph
    kept: KeptCache
    view: View
    closures: dict[StorePath, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def about(cls, real: RealNixos, kept: KeptCache, view: Path) -> OfflineTruth:
        """Be ready to ask of a cache that is whole now; ``view`` is a directory to be made."""
        return cls(
            nix=real.nix,
            store=real.store,
            graph=real.graph,
            kept=kept,
            view=View.of(kept, view),
        )

    def flaws(self, paths: Collection[StorePath]) -> dict[StorePath, Flaw]:
        """What Nix finds wrong with some paths."""
        found = ((path, self._flaw(path)) for path in paths)
        return {path: flaw for path, flaw in found if flaw is not None}

    def _flaw(self, path: StorePath) -> Flaw | None:
        cache = f"file://{self.kept.directory}"
        if path.is_derivation:
            # Of what a derivation refers to Nix reads more than its database.
            said = run(self.nix, "nix", "store", "verify", "--store", cache, path, check=False)
            return "broken" if said.returncode else None
        client = ScratchStore(self.view.directory.with_name("client"))
        references = [each for each in self.kept.narinfos[path].info.references if each != path]
        try:
            register(self.nix, references, store=client)
            said = run(
                self.nix,
                *("nix", "copy", "--no-recursive", "--from", cache, "--to", client.url, path),
                check=False,
            )
        finally:
            client.remove()
        if said.returncode == 0:
            return None
        return "gone" if any(each in said.stderr for each in _GONE) else "broken"

    @contextlib.contextmanager
    def seen(self, flaws: Mapping[StorePath, Flaw]) -> Iterator[None]:
        """Look at the cache without what is gone, until the context is left."""
        self.view.take_out([path for path, flaw in flaws.items() if flaw == "gone"])
        try:
            yield
        finally:
            self.view.put_back()

    def of(self, root: StorePath, flaws: Mapping[StorePath, Flaw], *, evaluates: bool) -> Truth:
        """What Nix makes of a root derivation; in :meth:`seen` of the same flaws.

        ``evaluates``: the client has the derivation, and so all that it is made of.
        """
        view = f"file://{self.view.directory}"
        while True:
            said = dry_run(self.nix, root, store=self.store, caches=[view])
            without = {
                referrer
                for path in said.unknown
                for referrer in self.view.referrers.get(_path(path), ())
                if referrer not in self.view.out
            }
            if not without:
                break
            self.view.take_out(without)
        failures = [f"{path} cannot be had" for path in said.unknown]
        failures += [f"{path} is to be fetched" for path in self._fixed(said.build)]
        broken = {path for path, flaw in flaws.items() if flaw == "broken"}
        needed = set(said.substitute)
        if not evaluates:
            closure = self._closure(root)
            needed |= closure
            failures += [f"{path} is gone" for path in flaws.keys() & closure - broken]
        failures += [f"{path} is broken" for path in broken & needed]
        return Truth(build=said.build, failures=tuple(failures))

    def _closure(self, root: StorePath) -> frozenset[str]:
        """All that Nix copies of a derivation from the cache while that is whole."""
        if root not in self.closures:
            listed = run(
                self.nix,
                *("nix", "path-info", "--recursive"),
                *("--store", f"file://{self.kept.directory}", root),
            )
            self.closures[root] = frozenset(listed.stdout.split())
        return self.closures[root]

    def _fixed(self, build: Collection[str]) -> list[str]:
        return sorted(path for path in build if self.graph[_path(path)].is_fixed)


def _path(text: str) -> StorePath:
    return StorePath(text)
