"""The interface of every destination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from pathlib import Path

    from mirror.destinations.capabilities import KeptNar, Repair, Signing, Sweeping
    from mirror.destinations.free_space import Room
    from mirror.destinations.reading import Progress
    from mirror.destinations.records.documents import Told
    from mirror.destinations.records.generation import Generation
    from mirror.destinations.records.receipt import Receipt
    from mirror.destinations.records.run_record import RunRecord
    from mirror.destinations.verified import Verified
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import PublicKey
    from mirror.formats.store_path import StorePath
    from mirror.formats.verifier import Claim, VerifiedPath
    from mirror.nix.stores import StoreLocation
    from mirror.planning.presence import Found


class Staging(Protocol):
    """Room for one path at a destination, until it is committed.

    Leaving its context before it is committed removes what was staged.
    """

    @property
    def keeps(self) -> Literal["compressed", "nar"]:
        """Which bytes :meth:`write` takes: those that arrive, or those of the uncompressed NAR."""
        ...

    def write(self, data: bytes) -> None:
        """Add bytes. It blocks, and is called off the event loop.

        Raises:
            DestinationError: no room, or no permission.

        """
        ...

    @property
    def is_committed(self) -> bool:
        """Whether what was staged is part of the destination."""
        ...


@dataclass(frozen=True, slots=True)
class Ready:
    """A path that is staged whole, and what the verifier says of it."""

    staging: Staging
    verified: VerifiedPath


class Destination(Protocol):
    """A place where paths are kept."""

    @property
    def name(self) -> str:
        """What reports call it, as a user may type it after ``--to``."""
        ...

    @property
    def keeps(self) -> Literal["compressed", "nar"]:
        """Whether it keeps paths as they arrive (compressed) or unpacked."""
        ...

    @property
    def is_for_others(self) -> bool:
        """Whether other machines' clients are given its paths with the signatures that they have.

        A Nix store is its own machine's, and what serves it signs what it gives.
        """
        ...

    @property
    def store(self) -> StoreLocation | None:
        """The Nix store that it is: Nix itself evaluates and builds with what is valid there.

        None for other kinds, from which clients copy paths to a store of their own first.
        """
        ...

    @property
    def directory(self) -> Path | None:
        """The directory of its files, if they are a binary cache's and can be served as they are.

        None for other kinds.
        """
        ...

    def as_substituter(self) -> AbstractContextManager[str | None]:
        """The URL from which this machine's Nix can take its paths while the context lasts.

        It has no space in it, since Nix separates URLs by spaces. None if Nix cannot read it.
        """
        ...

    @property
    def signing(self) -> Signing | None:
        """Adding and removing the mirror's own signatures; None if it keeps none."""
        ...

    @property
    def sweeping(self) -> Sweeping | None:
        """Removing what no generation needs; None if Nix's garbage collector does that."""
        ...

    def watched(self) -> Sequence[Path]:
        """Directories that change when generations, receipts or run records do; it blocks.

        Empty if these are not files.
        """
        ...

    async def signers(self) -> tuple[PublicKey, ...]:
        """The keys that sign here what was made here, the newest last.

        Raises:
            DestinationError: they cannot be read.

        """
        ...

    async def sign(self, paths: Collection[StorePath]) -> bool:
        """Sign paths that it holds with the key that it was opened with; False without one.

        Raises:
            DestinationError: the destination cannot be used.

        """
        ...

    async def room(self) -> Room:
        """Look how much more there is room for.

        Raises:
            DestinationError: it cannot be looked at.

        """
        ...

    async def protect(self, paths: Collection[StorePath]) -> bool:
        """Keep the paths, there or yet to come, from garbage collection until this is closed.

        Whether some may have been collected before: who looked earlier has to look again.
        """
        ...

    async def held(self, paths: Collection[StorePath]) -> Mapping[StorePath, PathInfo]:
        """Those of ``paths`` that the destination holds whole, with what it knows of them.

        Whether what they refer to is there, too, :func:`~mirror.destinations.closures.presence`
        finds out.
        """
        ...

    async def look_up(self, paths: Collection[StorePath]) -> Mapping[StorePath, Found]:
        """What the destination has of ``paths``, also where it is damaged; not what is absent.

        Raises:
            DestinationError: it cannot be looked at.

        """
        ...

    async def sizes(self, paths: Collection[StorePath]) -> Mapping[StorePath, Mapping[str, int]]:
        """What each of ``paths`` that is there takes: its pieces by name, with their bytes.

        One piece, such as a NAR's file, may be part of several paths. What is damaged counts as
        far as it is there.

        Raises:
            DestinationError: it cannot be looked at.

        """
        ...

    def look_as(self, *, trusted_keys: Iterable[str], is_old_nix: bool) -> None:
        """Look from now on at what was altered as a client's Nix does.

        Signatures of ``trusted_keys``, too, count for it; ``is_old_nix``: it reads narinfos as 2.8
        does, not as 2.34 does.
        """
        ...

    def read(self, path: StorePath) -> AbstractAsyncContextManager[KeptNar]:
        """Open the NAR of a path that is kept.

        Raises:
            NotAvailableError: it is not there.
            IntegrityError: it is damaged.

        """
        ...

    async def read_files(self, paths: Collection[StorePath]) -> Mapping[StorePath, bytes]:
        """The contents of those of ``paths`` that are one file each; none of what is damaged."""
        ...

    async def verify(self, progress: Progress, *, jobs: int) -> Verified:
        """Read again all that is kept, with ``jobs`` threads, and compare it with what it was.

        Raises:
            DestinationError: it, or something in it, may not be read.
            ToolError: Nix does not answer.

        """
        ...

    async def begin_repair(self, verified: Verified) -> Repair:
        """Begin to mend what was found to be damaged, at a destination that was opened for that.

        Raises:
            DestinationError: it cannot be read or written.

        """
        ...

    async def restrict(self, private: Collection[StorePath], given: Collection[StorePath]) -> bool:
        """Make ``private`` paths, also future ones, private, and ``given`` ones readable by all.

        Whether that is possible: False where files cannot be kept from anybody.

        Raises:
            DestinationError: a file cannot be written.

        """
        ...

    async def hidden(self, private: Collection[StorePath]) -> Collection[StorePath]:
        """Those of ``private`` paths that are there, and that this user may not read.

        Raises:
            DestinationError: it cannot be looked at.

        """
        ...

    def stage(self, claim: Claim) -> AbstractAsyncContextManager[Staging]:
        """Make room for a path."""
        ...

    async def commit(self, batch: Sequence[Ready]) -> None:
        """Make paths part of the destination, in this order.

        Everything that one refers to is there, or is before it in the batch. Where one cannot be
        taken, those before it may be committed all the same: each staging tells.

        Raises:
            DestinationError: the destination cannot take one.

        """
        ...

    async def keep(self, generation: Generation) -> None:
        """Record the generation and root it; all its paths are there. Durable on return."""
        ...

    async def generations(self, unreadable: Told | None = None) -> list[Generation]:
        """Every generation kept, by target and number.

        Raises:
            DestinationError: a manifest cannot be read, and there is no ``unreadable`` to be told.

        """
        ...

    async def forget(self, generation: Generation) -> None:
        """Drop the generation and its root; its paths stay until they are collected."""
        ...

    async def record(self, receipt: Receipt) -> None:
        """Record the result of a rehearsal, replacing the target's earlier one. Needs no lock."""
        ...

    async def receipts(self, unreadable: Told | None = None) -> list[Receipt]:
        """The newest receipt of each target, by target; raises likewise."""
        ...

    async def record_run(self, record: RunRecord) -> None:
        """Record the result of a sync, replacing the target's earlier one. Needs no lock."""
        ...

    async def run_records(self, unreadable: Told | None = None) -> list[RunRecord]:
        """The run record of each target, by target; raises likewise."""
        ...

    async def forget_records(self, target: str) -> None:
        """Remove the receipt and the run record of a target.

        Raises:
            DestinationError: they cannot be removed.

        """
        ...
