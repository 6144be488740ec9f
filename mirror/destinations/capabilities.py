"""What a destination offers beyond keeping paths: reading, signing, sweeping, repairing.

A caller gets each from the destination (:class:`mirror.destinations.Destination`). Signing and
sweeping are None for a destination that does not offer them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime, timedelta

    from mirror.destinations.verified import Mended
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import PublicKey, SecretKey, TrustedKeys
    from mirror.formats.store_path import StorePath
    from mirror.formats.verifier import Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptNar:
    """A NAR that a destination has opened.

    ``chunks`` are its bytes in the compression that ``claim`` names, in pieces of about 1 MiB;
    reading them may raise :class:`mirror.errors.IntegrityError`. ``location`` is the file that it
    comes from.
    """

    claim: Claim
    chunks: AsyncIterator[bytes]
    location: str


class Readable(Protocol):
    """A place from which the NARs of paths can be read."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def read(self, path: StorePath) -> AbstractAsyncContextManager[KeptNar]:
        """Open the NAR of a path that is kept.

        Raises:
            NotAvailableError: it is not there.
            IntegrityError: it is damaged.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The result of signing: paths that were signed, were already, or have only older signatures.

    ``upstream`` counts the paths that others vouch for, which are left as they are.
    """

    signed: int
    already: int
    others: int
    upstream: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """The result of removing old signatures.

    ``newest`` is the key whose signatures stay, None if none was ever used; ``paths`` lost older
    ones. ``left`` have none but older ones, and keep them; ``forgotten`` are the keys of which no
    signature is left.
    """

    newest: PublicKey | None
    paths: int
    left: int
    forgotten: tuple[PublicKey, ...]


class Signing(Protocol):
    """The mirror's own signatures at a destination."""

    async def add(
        self,
        key: SecretKey,
        *,
        again: bool,
        dry_run: bool,
        is_refused: Callable[[PathInfo], bool],
    ) -> Signed:
        """Sign what was made here and has no signature, and what ``is_refused`` by every client.

        With ``again`` also what has signatures of other keys of ours, which it keeps. The
        destination was opened with the key, unless this is a ``dry_run``.

        Raises:
            DestinationError: the destination cannot be read or written.

        """
        ...

    async def remove_old(self, *, dry_run: bool) -> Unsigned:
        """Remove the signatures of all our keys but the newest; then forget those keys.

        No path is left without one of ours that had one: one that has older ones only keeps them.

        Raises:
            DestinationError: the destination cannot be read or written.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """Retired paths that a server may still be asked for, and their files' bytes.

    ``until`` is when the last of them can be purged, in UTC. ``is_running``: a server was found to
    run now; else one ran here lately, or the user says that there is one.
    """

    paths: int
    bytes: int
    until: datetime
    is_running: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The result of a sweep, real or simulated.

    ``retired`` are the paths that were taken out of the destination (one whose narinfo cannot be
    read is there by its file name); ``files`` were deleted, of ``bytes`` together. ``unreadable``
    are the narinfos that are kept and cannot be read, by file name; with any, every NAR stays.
    """

    retired: tuple[str, ...]
    files: int
    bytes: int
    held_back: HeldBack | None = None
    unreadable: tuple[str, ...] = ()


class Sweeping(Protocol):
    """The removal of what no generation needs, if nothing else (such as Nix) does that."""

    async def sweep(
        self,
        live: Collection[StorePath] | None,
        *,
        targets: Collection[str],
        now: datetime,
        grace: timedelta,
        is_served: bool,
        dry_run: bool,
    ) -> Swept:
        """Remove all but ``live`` paths and what they refer to; change nothing if ``dry_run``.

        Without ``live`` nothing is known to be kept, and all that is published stays. Receipts and
        run records of other targets than ``targets`` go, too. What a client may still be led to
        goes once it was retired ``grace`` before ``now`` (UTC); ``is_served`` says that there are
        clients, also where none can be seen.

        Raises:
            DestinationError: the destination cannot be read or written.

        """
        ...


class Repair(Protocol):
    """A repair of a destination whose lock is held: its damaged paths are to be obtained again."""

    @property
    def batches(self) -> Sequence[Collection[StorePath]]:
        """The paths to be obtained again, those first that have to be whole before others."""
        ...

    @property
    def infos(self) -> Mapping[StorePath, PathInfo]:
        """What is known for certain about paths to be obtained again; of others, perhaps, too."""
        ...

    @property
    def download_sizes(self) -> Mapping[StorePath, int]:
        """How many bytes there may be to download of paths to be obtained again, where known."""
        ...

    def leftovers(self, keys: TrustedKeys) -> Readable | None:
        """What may be left of damaged paths here, as far as one of ``keys`` vouches for it."""
        ...

    async def finish(self, mended: Sequence[Mended]) -> Sequence[Mended]:
        """Mend the rest. Of each damage, what became of it by fetching, and at last; in order.

        Raises:
            DestinationError: the destination cannot be written.

        """
        ...
