"""A Nix store as a destination, through the worker protocol.

One connection is open for the whole run, and with it every temporary root, so that nothing of the
run can be collected before its generation is rooted. A path is staged as its uncompressed NAR, in
memory while it is small, and imported when it is committed: Nix hashes it again, restores it and
registers it, in that order. Signatures go along; whether one is needed is the store's decision
(a daemon asks for one from users that it does not trust, and never for content-addressed paths).

A generation is one text object in the store, the *manifest object*. Its content is the manifest
and its declared references are all the generation's paths, so that a single link to it protects
them all, and appears or goes in one step.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self, cast

from mirror.destinations import files
from mirror.destinations.capabilities import KeptNar
from mirror.destinations.free_space import Room, room_at
from mirror.destinations.records.record_files import RecordFiles
from mirror.destinations.store.generation_links import GenerationLinks
from mirror.destinations.store.manifest_object import manifest_object
from mirror.destinations.store.repair import StoreRepair
from mirror.destinations.store.staging import IN_MEMORY, StoreStaging, once, refusals
from mirror.destinations.store.verification import verify_store
from mirror.errors import DestinationError, NotAvailableError
from mirror.formats.verifier import Claim
from mirror.nix.file_tree import nar_chunks
from mirror.nix.protocol import daemon
from mirror.planning.presence import Flaw, Found, whole
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

    from mirror.destinations.destination import Ready
    from mirror.destinations.reading import Progress
    from mirror.destinations.records.documents import Told
    from mirror.destinations.records.generation import Generation
    from mirror.destinations.verified import Verified
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import PublicKey
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation

_MACHINE_STORES: Final = {"auto", "daemon", "local"}


class NixStore(RecordFiles):
    """A Nix store; :meth:`open` makes one."""

    keeps: Literal["compressed", "nar"] = "nar"
    is_for_others = False
    directory = None
    signing = None
    sweeping = None

    def __init__(
        self,
        *,
        connection: daemon.Connection,
        store: StoreLocation,
        links: GenerationLinks,
        receipts: Path,
        runs: Path,
        temporary: Path,
        to_mend: bool = False,
    ) -> None:
        super().__init__(receipts=receipts, runs=runs)
        self._connection = connection
        self._to_mend = to_mend
        self._store = store
        self._links = links
        self._temporary = temporary
        self._lost: set[StorePath] = set()
        """What the database has and the disk has not."""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, nix: Nix, store: StoreLocation, *, exclusive: bool = True, to_mend: bool = False
    ) -> AsyncIterator[Self]:
        """Connect to a store and, unless ``exclusive`` is false, hold its lock.

        Without the lock it is for looking only (:meth:`held`, :meth:`generations`)
        and for receipts. ``to_mend``: what is committed takes the place of what is there.

        Raises:
            LockedError: another run of this user holds the lock.
            DestinationError: the directory for temporary files cannot be used.
            ToolError: the store cannot be connected to.

        """
        state = nix.state_directory
        temporary = Path(nix.environment.get("TMPDIR") or nix.cache_directory)
        roots = state / "gcroots"
        name = "this-machine"
        if store.url not in _MACHINE_STORES:
            name = hashlib.sha256(store.url.encode()).hexdigest()[:32]
            roots /= name
        async with contextlib.AsyncExitStack() as stack:
            if exclusive:
                lock = files.locked(state / f"locks/{name}", f"the Nix store {store.url}")
                stack.enter_context(lock)
                with files.explained(temporary):
                    files.make_directory(temporary)
            yield cls(
                connection=await stack.enter_async_context(daemon.connect(nix, store)),
                store=store,
                links=GenerationLinks(store=store, indirect=roots),
                receipts=state / "receipts" / name,
                runs=state / "runs" / name,
                temporary=temporary,
                to_mend=to_mend,
            )

    @property
    def name(self) -> str:
        """The store's URL."""
        return self._store.url

    @property
    def store(self) -> StoreLocation:
        """Where the store is."""
        return self._store

    def as_substituter(self) -> contextlib.nullcontext[None]:
        """None: Nix builds in the store itself."""
        return contextlib.nullcontext(None)

    def watched(self) -> tuple[Path, ...]:
        """Directories of links, receipts and run records: they change with what these tell."""
        links = self._links
        return (links.direct, links.indirect, self._receipts.directory, self._runs.directory)

    async def signers(self) -> tuple[PublicKey, ...]:
        """No key: what serves the store signs what it gives."""
        return ()

    async def sign(self, paths: Collection[StorePath]) -> bool:  # noqa: ARG002 - as said
        """Do nothing, for the same reason."""
        return False

    async def room(self) -> Room:
        """Look how much more there is room for."""
        return await asyncio.to_thread(room_at, self._store.root / "nix/store")

    async def protect(self, paths: Collection[StorePath]) -> bool:
        """Keep the paths, there or yet to come, from garbage collection until this is closed."""
        await self._connection.add_temp_roots(paths)
        return True

    async def held(self, paths: Collection[StorePath]) -> Mapping[StorePath, PathInfo]:
        """Those of ``paths`` that are valid and on the disk, with what the store knows of them."""
        return whole(await self.look_up(paths))

    async def look_up(self, paths: Collection[StorePath]) -> Mapping[StorePath, Found]:
        """What there is of ``paths``: what is valid, and has a flaw if it is not on the disk."""
        valid = await self._connection.query_valid_paths(paths)
        infos = await self._connection.query_path_infos(valid)
        lost = await in_thread(self._not_on_disk, infos.keys())
        self._lost |= lost
        return {
            path: Found(info=info, flaw=self._gone(path) if path in lost else None)
            for path, info in infos.items()
        }

    async def sizes(self, paths: Collection[StorePath]) -> Mapping[StorePath, Mapping[str, int]]:
        """The sizes of their NARs, which is about what they take unpacked."""
        held = await self.held(paths)
        return {path: {path: info.nar_size} for path, info in held.items()}

    def _gone(self, path: StorePath) -> Flaw:
        problem = "it is missing, although the store's database has it"
        return Flaw(file=str(self._store.real(path)), problem=problem, is_fatal=True)

    def _not_on_disk(self, paths: Collection[StorePath]) -> set[StorePath]:
        """Those of valid paths whose files are gone, where this process can see the store."""
        directory = self._store.root / "nix/store"
        if not directory.is_dir():
            return set()
        return {path for path in paths if not os.path.lexists(self._store.real(path))}

    def look_as(self, *, trusted_keys: Iterable[str], is_old_nix: bool) -> None:
        """Do nothing: nothing of a store is altered that Nix would notice."""

    @contextlib.asynccontextmanager
    async def read(self, path: StorePath) -> AsyncIterator[KeptNar]:
        """Open the NAR of a path's files."""
        info = await self._connection.query_path_info(path)
        if info is None:
            raise NotAvailableError(f"{path} is not in the store {self.name}")
        real = self._store.real(path)
        claim = Claim(info=info, made_here=True)
        yield KeptNar(claim=claim, chunks=nar_chunks(real), location=str(real))

    async def read_files(self, paths: Collection[StorePath]) -> Mapping[StorePath, bytes]:
        """The contents of paths that are one file each."""
        return await in_thread(self._read_files, paths)

    def _read_files(self, paths: Collection[StorePath]) -> dict[StorePath, bytes]:
        found = {}
        for path in paths:
            with contextlib.suppress(OSError):
                found[path] = files.read_plain_file(self._store.real(path))
        return found

    async def verify(self, progress: Progress, *, jobs: int) -> Verified:
        """Read all that generations keep."""
        return await verify_store(self, self._store, progress, jobs=jobs)

    async def begin_repair(self, verified: Verified) -> StoreRepair:
        """Begin to mend what was found to be damaged."""
        return await StoreRepair.begin(self, verified)

    async def restrict(
        self,
        private: Collection[StorePath],  # noqa: ARG002 - as said
        given: Collection[StorePath],  # noqa: ARG002 - as said
    ) -> bool:
        """Do nothing: all users of a machine read its store, and a server goes by generations."""
        return True

    async def hidden(self, private: Collection[StorePath]) -> Collection[StorePath]:  # noqa: ARG002 - as said
        """None, for the same reason."""
        return ()

    @contextlib.asynccontextmanager
    async def stage(self, claim: Claim) -> AsyncIterator[StoreStaging]:
        """Make room for a path's uncompressed NAR."""
        file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=str(self._temporary))  # noqa: SIM115 - closed below
        try:
            # What is valid already, Nix takes again only to repair it.
            repair = self._to_mend or claim.info.path in self._lost
            yield StoreStaging(self._connection, file, self._temporary, repair=repair)
        finally:
            # What is still buffered is of no use, so neither is an error in writing it.
            with contextlib.suppress(OSError):
                file.close()

    async def commit(self, batch: Sequence[Ready]) -> None:
        """Import the paths, one after the other: Nix takes one at a time on a connection."""
        for each in batch:
            await cast("StoreStaging", each.staging).add(each.verified)  # it was staged here

    async def keep(self, generation: Generation) -> None:
        """Add the generation's manifest object to the store, and root it.

        Raises:
            DestinationError: a path of it is not valid, or the root cannot be made.

        """
        missing = set(generation.paths) - await self._connection.query_valid_paths(generation.paths)
        if missing:
            raise DestinationError(
                f"{len(missing)} paths of {generation.target} are not in the store "
                f"{self.name}, for example {min(missing)}"
            )
        info, data = await asyncio.to_thread(manifest_object, generation)
        await self.protect([info.path])
        with refusals(info.path):
            await self._connection.add_to_store_nar(info, once(data), check_signatures=False)
        link = await in_thread(self._links.add, generation, info.path)
        if link is not None:
            await self._connection.add_indirect_root(str(link))

    async def generations(self, unreadable: Told | None = None) -> list[Generation]:
        """Every generation kept, by target and number."""
        return await asyncio.to_thread(self._links.read, unreadable)

    async def forget(self, generation: Generation) -> None:
        """Remove the generation's root; Nix collects what no other root protects."""
        await asyncio.to_thread(self._links.remove, generation)
