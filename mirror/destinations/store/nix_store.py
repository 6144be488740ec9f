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
import re
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal, Self

from mirror.destinations import files
from mirror.destinations.free_space import Room, room_at
from mirror.destinations.records.generation import MANIFEST
from mirror.destinations.records.receipt import receipts_in
from mirror.destinations.records.run_record import run_records_in
from mirror.destinations.store.generation_links import GenerationLinks
from mirror.errors import DestinationError, FullError
from mirror.formats import nar
from mirror.formats.content_address import text_path
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.nix.protocol import daemon
from mirror.planning.presence import Flaw, Found, whole
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Mapping

    from mirror.destinations.records.documents import Documents, Told
    from mirror.destinations.records.generation import Generation
    from mirror.destinations.records.receipt import Receipt
    from mirror.destinations.records.run_record import RunRecord
    from mirror.formats.signing import PublicKey
    from mirror.formats.store_path import StorePath
    from mirror.formats.verifier import Claim, VerifiedPath
    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation

_IN_MEMORY: Final = 1 << 20
_CHUNK: Final = 1 << 20
_FULL: Final = re.compile(r"No space left|[Qq]uota exceeded|disk is full")
_LONGEST_TARGET: Final = 150
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9+\-._?=]")
_MACHINE_STORES: Final = {"auto", "daemon", "local"}


class NixStore:
    """A Nix store; :meth:`open` makes one."""

    keeps: Literal["compressed", "nar"] = "nar"
    is_for_others = False

    def __init__(
        self,
        *,
        connection: daemon.Connection,
        store: StoreLocation,
        links: GenerationLinks,
        receipts: Documents[Receipt],
        runs: Documents[RunRecord],
        temporary: Path,
        to_mend: bool = False,
    ) -> None:
        self._connection = connection
        self._to_mend = to_mend
        self._store = store
        self._links = links
        self._receipts = receipts
        self._runs = runs
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
                receipts=receipts_in(state / "receipts" / name),
                runs=run_records_in(state / "runs" / name),
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

    @property
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

    def _gone(self, path: StorePath) -> Flaw:
        problem = "it is missing, and the store's database has it"
        return Flaw(file=str(self._store.real(path)), problem=problem, is_fatal=True)

    def _not_on_disk(self, paths: Collection[StorePath]) -> set[StorePath]:
        """Those of valid paths whose files are gone, where this process can see the store."""
        directory = self._store.root / "nix/store"
        if not directory.is_dir():
            return set()
        return {path for path in paths if not os.path.lexists(self._store.real(path))}

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
        file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(self._temporary))  # noqa: SIM115 - closed below
        try:
            # What is valid already, Nix takes again only to repair it.
            repair = self._to_mend or claim.info.path in self._lost
            yield StoreStaging(self._connection, file, self._temporary, repair=repair)
        finally:
            # What is still buffered is of no use, so neither is an error in writing it.
            with contextlib.suppress(OSError):
                file.close()

    async def keep(self, generation: Generation) -> None:
        """Add the generation's manifest object to the store, and root it.

        Raises:
            DestinationError: a path of it is not valid, or the root cannot be made.

        """
        missing = set(generation.paths) - await self._connection.query_valid_paths(generation.paths)
        if missing:
            raise DestinationError(
                f"{len(missing)} paths of {generation.target} are not in the store "
                f"{self.name}, {min(missing)} for one"
            )
        info, data = await asyncio.to_thread(_manifest_object, generation)
        await self.protect([info.path])
        with _refusals(info.path):
            await self._connection.add_to_store_nar(info, _once(data), check_signatures=False)
        link = await in_thread(self._links.add, generation, info.path)
        if link is not None:
            await self._connection.add_indirect_root(str(link))

    async def generations(self, unreadable: Told | None = None) -> list[Generation]:
        """Every generation kept, by target and number."""
        return await asyncio.to_thread(self._links.read, unreadable)

    async def forget(self, generation: Generation) -> None:
        """Remove the generation's root; Nix collects what no other root protects."""
        await asyncio.to_thread(self._links.remove, generation)

    async def record(self, receipt: Receipt) -> None:
        """Write a receipt to the user's own state directory; it takes no lock."""
        await in_thread(self._receipts.write, receipt)

    async def receipts(self, unreadable: Told | None = None) -> list[Receipt]:
        """The receipt of each target that this user rehearsed."""
        return await asyncio.to_thread(self._receipts.read, unreadable)

    async def record_run(self, record: RunRecord) -> None:
        """Write a run record to the user's own state directory; it takes no lock."""
        await in_thread(self._runs.write, record)

    async def forget_records(self, target: str) -> None:
        """Remove the receipt and the run record of a target.

        Raises:
            DestinationError: they cannot be removed.

        """
        for documents in (self._receipts, self._runs):
            await in_thread(documents.remove, target)

    async def run_records(self, unreadable: Told | None = None) -> list[RunRecord]:
        """The run record of each target that this user synced, or would have."""
        return await asyncio.to_thread(self._runs.read, unreadable)


class StoreStaging:
    """A path's uncompressed NAR, in memory or in a nameless temporary file."""

    keeps: Literal["compressed", "nar"] = "nar"

    def __init__(
        self, connection: daemon.Connection, file: IO[bytes], temporary: Path, *, repair: bool
    ) -> None:
        self._connection = connection
        self._repair = repair
        self._file = file
        self._temporary = temporary

    def write(self, data: bytes) -> None:
        """Add bytes of the NAR."""
        with files.explained(self._temporary):
            self._file.write(data)

    async def commit(self, verified: VerifiedPath) -> None:
        """Import the path; its references are valid already.

        Raises:
            DestinationError: Nix refused it, in Nix's words.

        """
        if verified.info.nar_size <= _IN_MEMORY:
            self._file.seek(0)
            chunks = _once(self._file.read())
        else:
            # This writes what is still buffered: before the request, which cannot be taken back.
            with files.explained(self._temporary):
                await in_thread(self._file.seek, 0)
            chunks = self._chunks()
        with _refusals(verified.info.path):
            # Verified here already. Nix heeds this for users that it trusts only.
            await self._connection.add_to_store_nar(
                verified.info, chunks, check_signatures=False, repair=self._repair
            )

    async def _chunks(self) -> AsyncIterator[bytes]:
        with files.explained(self._temporary):
            while data := await in_thread(self._file.read, _CHUNK):
                yield data


def _manifest_object(generation: Generation) -> tuple[PathInfo, bytes]:
    """The manifest object of a generation, and its NAR."""
    content = MANIFEST.render(generation)
    digest = Hash.of(content)
    target = _NOT_IN_A_NAME.sub("_", generation.target)[:_LONGEST_TARGET]
    references = tuple(sorted(set(generation.paths)))
    data = b"".join(nar.serialize(nar.Regular.of(content)))
    info = PathInfo(
        path=text_path(
            f"prefetch-{target}-{generation.number}.json", hash=digest, references=references
        ),
        nar_hash=Hash.of(data),
        nar_size=len(data),
        references=references,
        content_address=f"text:{digest.nix32}",
    )
    return info, data


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


@contextlib.contextmanager
def _refusals(path: StorePath) -> Iterator[None]:
    """Say what is to be done where Nix refuses a path."""
    try:
        yield
    except daemon.DaemonError as error:
        hint = error.hint
        kind = DestinationError
        if "signature" in error.message:
            hint = (
                "the Nix daemon does not trust you to add paths without a signature by a key of "
                "its `trusted-public-keys`: add the key there, add yourself to `trusted-users`, "
                "or run as root"
            )
        elif _FULL.search(error.message):
            kind = FullError
            hint = "make room on the store's file system; then run again: it goes on"
        raise kind(f"Nix refused {path}: {error.message}", hint=hint) from error
