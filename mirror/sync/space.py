"""Whether a plan fits at its destination: looked at before its first byte, told if it does not.

What a plan needs is a lower bound, and is called so: what an origin sends is not known before, and
a file system needs some room for itself. A cache directory keeps what is downloaded, a Nix store
what that unpacks to; where the file system may compress that again, only the download is counted.
What a cache says and nobody signs counts as unknown: it stops no run.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import DestinationError, FullError
from mirror.quantities import number, size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from mirror.destinations import Destination, Room
    from mirror.formats.store_path import StorePath
    from mirror.planning.availability import Offer
    from mirror.planning.plan import Plan
    from mirror.sync.report import Observer, Outcome

_HINT: Final = "make room there, or choose another destination; then run again to continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What ``paths`` that a destination lacks take there, and the ``room`` that it has for them.

    ``bytes`` are needed at least; of ``unknown`` of the paths nobody says how large they are.
    """

    paths: int
    bytes: int
    unknown: int
    room: Room

    @property
    def more_bytes(self) -> int:
        """How many bytes are lacking, at least."""
        return 0 if self.room.bytes is None else max(0, self.bytes - self.room.bytes)

    @property
    def more_files(self) -> int:
        """How many files too few there can be, at least."""
        return 0 if self.room.files is None else max(0, self.paths - self.room.files)

    @property
    def fits(self) -> bool:
        """Whether it fits, as far as is known."""
        return not self.more_bytes and not self.more_files

    def text(self, subject: str) -> str:
        """Say it of ``subject``: ``/srv has 1.2 GB free, and this needs at least 3.4 GB: …``."""
        if self.more_files:
            return (
                f"{self.room.place} takes {number(self.room.files or 0, 'file')} more, "
                f"and {subject} needs at least {self.paths:,}: {self.more_files:,} more"
            )
        free = "no known limit" if self.room.bytes is None else f"{size(self.room.bytes)} free"
        said = f"{self.room.place} has {free}, and {subject} needs at least "
        said += size(self.bytes)
        if self.unknown:
            said += f" and {number(self.unknown, 'path')} of unknown size"
        return f"{said}: {size(self.more_bytes)} more" if self.more_bytes else said


async def need(plan: Plan, destination: Destination) -> Need:
    """Look what obtaining the plan's missing paths takes.

    Raises:
        DestinationError: the destination cannot be looked at.

    """
    return await _need(plan, destination, there=())


async def expect_room(plan: Plan, destination: Destination) -> None:
    """Check that the missing paths of the plan may fit.

    Raises:
        FullError: it does not.

    """
    found = await need(plan, destination)
    if found.paths and not found.fits:
        raise FullError(found.text("this"), hint=_HINT)


@contextlib.asynccontextmanager
async def telling_what_is_left(
    plan: Plan, destination: Destination, observer: Observer
) -> AsyncIterator[Observer]:
    """Where the destination fills up meanwhile, say also what is left to be obtained.

    Whoever obtains it tells the observer that this gives: who lost the connection to a store
    cannot ask what is there.
    """
    watching = _Watching(observer)
    try:
        yield watching
    except FullError as error:
        try:
            found = await _need(plan, destination, there=watching.stored)
        except DestinationError:
            raise error from None
        raise FullError(
            f"{error.message}: {found.text('what is left')}", hint=error.hint
        ) from error


class _Watching:
    """An observer that remembers what was stored, and passes all on."""

    def __init__(self, observer: Observer) -> None:
        self.stored: set[StorePath] = set()
        self.step = observer.step
        self.counting = observer.counting
        self.notice = observer.notice
        self.transfer_begins = observer.transfer_begins
        self.started = observer.started
        self.received = observer.received
        self.transfer_ends = observer.transfer_ends
        self._finished = observer.finished

    def finished(self, outcome: Outcome) -> None:
        if outcome.result == "stored":
            self.stored.add(outcome.path)
        self._finished(outcome)


async def _need(plan: Plan, destination: Destination, there: Collection[StorePath]) -> Need:
    room = await destination.room()
    unpacks = destination.keeps == "nar" and not room.may_compress
    # Paths that have the same content can share it.
    offers = {
        each.offer.info.nar_hash: each.offer for each in plan.substitute if each.path not in there
    }
    sizes = [each.nar_bytes if unpacks else _download_bytes(each) for each in offers.values()]
    missing = plan.missing_paths - set(there)
    return Need(
        paths=len(missing),
        bytes=sum(each for each in sizes if each is not None),
        unknown=sizes.count(None) + sum(each.path in missing for each in plan.fetch),
        room=room,
    )


def _download_bytes(offer: Offer) -> int | None:
    """What is downloaded at least, no more than what is signed: nobody signs the file's size."""
    if offer.download_bytes is None or offer.nar_bytes is None:
        return None
    return min(offer.download_bytes, offer.nar_bytes)
