"""One run in which every server is hostile, and what it left behind.

:class:`Village` has one derivation whose inputs each have a server of their own: a path that only
one binary cache offers, or a source that only one origin has. One real sync asks them all, since a
server that misbehaves must not spoil what the others give either.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import tempfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import pytest

from mirror.destinations import CacheDirectory, NixStore
from mirror.errors import PrefetchError
from mirror.formats.signing import SecretKey
from mirror.formats.store_path import StorePath
from mirror.nix.stores import StoreLocation
from mirror.planning.lists.list_file import parse_list
from mirror.sources.http.settings import HttpSettings
from mirror.sync.run import sync
from mirror.sync.sync_options import SyncOptions
from mirror.sync.workshop import WorkshopOptions, open_workshop
from rig.bench import Recorder
from rig.hostile import CacheCase, OriginCase, Place
from rig.measured import Measured, measure
from rig.nixes import PYTHON_PATH
from rig.running import ScratchStore, evaluate, run
from rig.servers import Reply, Server
from rig.shell import COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mirror.destinations import Destination
    from mirror.nix.command import Nix
    from mirror.sync.results import Synced
    from rig.servers import Request

PUBLIC: Final = "127.0.0.1"
"""Stands for an address of the open internet, where the hostile servers are."""
PRIVATE: Final = "127.0.0.2"
"""Stands for an address of the user's own network."""

IMPATIENT: Final = HttpSettings(
    attempts=2,
    first_pause=0.01,
    speed_seconds=3,
    answer_seconds=5,
    connect_seconds=5,
    is_public=lambda address: address == PUBLIC,
)

_PATHS: Final = """
let path = name: derivation {{ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; }};
in {{
  paths = builtins.mapAttrs (name: _: "${{path name}}") {{ {names} }};
  all = derivation {{
    name = "all"; system = "x86_64-linux"; builder = "/bin/sh";
    inputs = map path [ {paths} ] ++ [ {sources} ];
  }};
}}
"""
_SOURCE: Final = """(derivation {{
  name = "{name}"; system = "x86_64-linux"; builder = "{builder}";
  outputHashAlgo = "sha256"; outputHashMode = "{mode}"; outputHash = "{hash}"; {attributes}
}})"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What a run came to: ``said`` is all that it told, ``published`` the cache's hash parts.

    ``touched`` are the files, outside of the destination and of the user's caches, that came or
    went or changed.
    """

    synced: Synced | None
    said: str
    cache: Path
    temporary: Path
    touched: set[str]
    places: Mapping[str, Place]

    @property
    def published(self) -> set[str]:
        return {each.stem for each in self.cache.glob("*.narinfo")}

    def has(self, name: str) -> bool:
        """Whether the path or source of that name was stored, and a reader sees it."""
        assert self.synced is not None, self.said
        stored = {
            each.path.name: each.path.hash_part
            for each in self.synced.outcomes
            if each.result == "stored"
        }
        path = self.places[name].path
        assert path is None or (name in stored) == (path.hash_part in self.published)
        return stored.get(name) in self.published

    def check(self, case: CacheCase | OriginCase) -> None:
        """See that only what is right was published, and that who was wrong is named."""
        told = self.told_of(case.name)
        assert self.has(case.name) == case.arrives, told
        assert re.search(case.said, told), told
        assert all(line.isprintable() and len(line) < 1000 for line in told.splitlines())
        assert case.arrives or self.places[case.name].url in told

    def check_surroundings(self) -> None:
        """See that nothing else was touched, and nothing left behind."""
        assert self.touched == set()
        assert not list(self.temporary.iterdir())
        assert not list(self.cache.glob(".prefetch/staging/*"))

    def told_of(self, name: str) -> str:
        """What was told of that place, of its path in particular where there is such."""
        told = self.said.splitlines()
        for outcome in self.synced.outcomes if self.synced else ():
            if outcome.path.name == name:
                told += [str(each) for each in outcome.attempts]
        place = re.compile(re.escape(self.places[name].url) + r"(?![\w-])")
        return "\n".join(each for each in told if place.search(each))


@dataclass(kw_only=True)
class Village:
    """A user with a list, in ``directory``, and hostile servers around them."""

    nix: Nix
    directory: Path
    store: ScratchStore
    key: SecretKey = field(default_factory=lambda: SecretKey.generate("hostile-1"))
    runs: int = 0

    @property
    def cache(self) -> Path:
        """The destination of this run, which has one of its own."""
        return self.directory / f"user/cache-{self.runs}"

    def prepare(
        self, server: Server, inside: Server, cases: Sequence[CacheCase | OriginCase]
    ) -> dict[str, Place]:
        """Write the list and what it evaluates, and let the servers do as the cases say."""
        self.runs += 1
        names = [case.name for case in cases if isinstance(case, CacheCase)]
        sources = [
            _SOURCE.format(
                name=case.name,
                builder=case.builder,
                mode=case.mode,
                hash=case.hash,
                attributes=case.attributes.format(url=f"{server.url}/{case.name}/download"),
            )
            for case in cases
            if isinstance(case, OriginCase)
        ]
        user = self.directory / "user"
        (self.directory / "tmp").mkdir(parents=True, exist_ok=True)
        user.mkdir(exist_ok=True)
        (user / "all.nix").write_text(
            _PATHS.format(
                names=" ".join(f'"{name}" = null;' for name in names),
                paths=" ".join(f'"{name}"' for name in names),
                sources="\n".join(sources),
            )
        )
        (user / "hosts.txt").write_text("all = ./all.nix#all\n")
        expression = f"(import {user}/all.nix).paths"
        paths = evaluate(self.nix, expression, store=self.store)
        places = {}
        for case in cases:
            path = StorePath.parse(paths[case.name]) if case.name in paths else None
            place = Place(
                name=case.name,
                url=f"{server.url}/{case.name}",
                server=server,
                inside=inside,
                key=self.key,
                directory=self.directory,
                path=path,
                size=case.size if isinstance(case, CacheCase) else 0,
            )
            place.on("nix-cache-info", Reply(body=b"StoreDir: /nix/store\n"))
            case.serve(place)
            places[case.name] = place
        return places

    def run(
        self,
        cases: Sequence[CacheCase | OriginCase],
        *,
        fault: Callable[[Request, Reply], Reply] | None = None,
        to: ScratchStore | None = None,
        **settings: object,
    ) -> Aftermath:
        """Sync from servers that do as the cases say, ``settings`` being the workshop's.

        ``to`` is a store, instead of an empty cache directory.
        """

        async def serve_and_sync() -> Aftermath:
            async with Server() as server, Server(address=PRIVATE) as inside:
                server.fault = fault or server.fault
                places = self.prepare(server, inside, cases)
                aftermath = await self.sync(places, to, **settings)
                assert not inside.connections
                return aftermath

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(self.directory / "tmp"))
            return asyncio.run(serve_and_sync())

    async def sync(
        self, places: Mapping[str, Place], to: ScratchStore | None = None, **settings: object
    ) -> Aftermath:
        """Run a whole sync of the list."""
        user, recorder = self.directory / "user", Recorder()
        options = WorkshopOptions(
            store=self.store.url,
            substituters=tuple(place.url for place in places.values() if place.path is not None),
            trusted_keys=(str(self.key.public),),
            builder=False,
            archives=False,
            http=IMPATIENT,
        )
        options = replace(options, **settings)  # type: ignore[arg-type] # a table of arguments
        targets = parse_list(
            (user / "hosts.txt").read_text(), file="hosts.txt", directory=user, shipped_edits={}
        )
        before, synced, said = self._surroundings(), None, ""
        opened: contextlib.AbstractAsyncContextManager[Destination] = (
            CacheDirectory.open(self.cache)
            if to is None
            else NixStore.open(self.nix, StoreLocation.parse(to.url))
        )
        async with opened as destination:
            try:
                async with open_workshop(self.nix, options, recorder) as workshop:
                    synced = await sync(
                        targets,
                        contextlib.nullcontext(workshop),
                        destination,
                        recorder,
                        SyncOptions(jobs=8, keep_going=True),
                    )
                    # The user is told of the first alone.
                    said = "\n".join(workshop.caches.refusals.values())
            except PrefetchError as raised:
                said = raised.message
        after = self._surroundings()
        return Aftermath(
            synced=synced,
            said="\n".join((said, *recorder.notices)),
            cache=self.cache,
            temporary=self.directory / "tmp",
            touched={name for name in before | after if before.get(name) != after.get(name)},
            places=places,
        )

    def command(self, places: Mapping[str, Place]) -> list[str]:
        """The same sync as a command of its own."""
        options = [("--store", self.store.url), ("--trusted-key", str(self.key.public))]
        options += [("--substituter", each.url) for each in places.values() if each.path]
        words = ("sync", "hosts.txt", "--to", str(self.cache), "--keep-going")
        return [*COMMAND, *words, "--no-builder", "--no-archives", *itertools.chain(*options)]

    @property
    def environment(self) -> dict[str, str]:
        """What such a command is run with."""
        return {
            **self.nix.environment,
            "PYTHONPATH": PYTHON_PATH,
            "TMPDIR": str(self.directory / "tmp"),
        }

    def measure(self, command: Sequence[str]) -> Measured:
        """Run a command to its end, and see what it took."""
        return measure(command, cwd=self.directory / "user", environment=self.environment)

    def check(
        self, aftermath: Aftermath, cases: Sequence[CacheCase | OriginCase], nix: Nix
    ) -> None:
        """See that nothing but the destination was touched, and that Nix reads all that is there.

        That is more than what arrives of the cases: what they are needed for, too.
        """
        aftermath.check_surroundings()
        assert len(aftermath.published) > sum(case.arrives for case in cases)
        self.verify(nix, aftermath.cache)

    def verify(self, nix: Nix, cache: Path | None = None) -> None:
        """Let Nix read the whole cache: every signature, every NAR, every hash."""
        run(
            nix,
            *("nix", "store", "verify", "--all", "--store"),
            f"file://{cache or self.cache}",
            config=(f"trusted-public-keys = {self.key.public}",),
        )

    def _surroundings(self) -> dict[str, tuple[int, int]]:
        """Every file around the destination: its size, and when it changed."""
        home = self.nix.home
        own = (self.cache, self.store.directory, home / "cache/nix", self.nix.cache_directory)
        found = {}
        for top in (self.directory, home):
            for each in top.rglob("*"):
                # Nor what leads there, which may be made with it.
                if not any(each.is_relative_to(it) or it.is_relative_to(each) for it in own):
                    status = each.lstat()
                    is_directory = each.is_dir()
                    found[str(each)] = (
                        (0, 0)
                        if is_directory
                        else (
                            status.st_size,
                            status.st_mtime_ns,
                        )
                    )
        return found


@pytest.fixture(scope="module")
def village(nix_stable: Nix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Village]:
    directory = tmp_path_factory.mktemp("village")
    store = ScratchStore(directory / "store")
    yield Village(nix=nix_stable, directory=directory, store=store)
    store.remove()
