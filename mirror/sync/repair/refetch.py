"""``verify --repair``: obtain damaged paths again, from whoever still has them.

A path is fetched as by a sync: it is verified to the last byte, then its NAR replaces the damaged
one by a rename, then its narinfo. So a reader gets either the old file whole or the new one. The
sources are, in this order, the caches, a fixed output's origins (by the derivation that is kept),
mirrors and archives, what is left of the path in the cache itself, and this machine's store.
Builders are not run.

Repairs that need no source are the destination's: :class:`mirror.destinations.capabilities.Repair`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from mirror.destinations.closures import known
from mirror.destinations.verified import Mended
from mirror.errors import FormatError
from mirror.planning.fetchers.fixed_output_index import FixedOutputs
from mirror.sources import Wanted
from mirror.sync.asking import Item
from mirror.sync.engine import obtain
from mirror.sync.kept.kept_derivations import read_graph
from mirror.sync.kept.kept_source import Kept
from mirror.sync.repair.at_hand import OfThisMachine

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mirror.destinations import Destination
    from mirror.destinations.verified import Damage, Verified
    from mirror.formats.store_path import StorePath
    from mirror.planning.fetchers.fixed_outputs import FixedOutput
    from mirror.sources import Source
    from mirror.sync.report import Observer, Outcome
    from mirror.sync.workshop import Workshop

_REFERENCES: Final = "destination"
"""What the engine says was asked of a path that had to wait for another, which failed."""


async def repair(
    verified: Verified,
    destination: Destination,
    workshop: Workshop,
    observer: Observer,
    *,
    jobs: int,
) -> Sequence[Mended]:
    """Mend a destination, whose lock is held; what became of each damage, in order.

    Raises:
        DestinationError: it cannot be written.

    """
    repairing = await destination.begin_repair(verified)
    at_hand: list[Source] = []
    leftovers = repairing.leftovers(workshop.keys)
    if leftovers is not None:
        at_hand.append(Kept(leftovers))
    if destination.store is None or destination.store.root != workshop.store.root:
        at_hand.append(OfThisMachine(workshop.local, repairing.infos))
    fetch = _Fetch(
        destination, workshop, observer, sound=verified.sound, at_hand=at_hand, jobs=jobs
    )
    sizes = repairing.download_sizes
    for batch in repairing.batches:
        await fetch.have(batch, sizes)
    return await repairing.finish([_after(each, fetch.outcomes) for each in verified.damages])


class _Fetch:
    """The fetching of damaged paths; ``outcomes`` are how it went with each.

    ``at_hand`` is asked after all others.
    """

    def __init__(
        self,
        destination: Destination,
        workshop: Workshop,
        observer: Observer,
        *,
        sound: Collection[StorePath],
        at_hand: Sequence[Source],
        jobs: int,
    ) -> None:
        self.outcomes: dict[StorePath, Outcome] = {}
        self._destination = destination
        self._workshop = workshop
        self._observer = observer
        self._there = set(sound)
        self._at_hand = at_hand
        self._jobs = jobs

    async def have(self, wanted: Collection[StorePath], sizes: Mapping[StorePath, int]) -> None:
        """Obtain as many of the paths as possible; ``sizes`` are how large they are, if known.

        Raises:
            DestinationError: the destination cannot be written.

        """
        if not wanted:
            return
        await self._obtain(wanted, sizes)
        if any(path.is_derivation for path in self._there.intersection(wanted)):
            # More derivations are whole now: they may say where more can be had from.
            await self._obtain(self._failed(), sizes)
        held_up = {path for path in self._failed() if self._waited(path)}
        # What these need is damaged, and nobody has it: to leave them so, too, would help nobody.
        self._there |= (await known(self._destination, self._failed() - held_up)).keys()
        await self._obtain(held_up, sizes)

    def _failed(self) -> set[StorePath]:
        return {path for path, each in self.outcomes.items() if each.result == "failed"}

    def _waited(self, path: StorePath) -> bool:
        """Whether it was not stored because something that it refers to was not."""
        return any(each.source == _REFERENCES for each in self.outcomes[path].attempts)

    async def _obtain(self, wanted: Collection[StorePath], sizes: Mapping[StorePath, int]) -> None:
        if not wanted:
            return
        graph = await read_graph(self._destination, self._there)
        fixed_outputs = FixedOutputs(
            graph,
            overrides=self._workshop.nix.environment,
            system=self._workshop.settings.system,
        )
        outcomes = await obtain(
            [self._item(path, fixed_outputs, sizes.get(path)) for path in sorted(wanted)],
            self._destination,
            self._observer,
            present=self._there,
            jobs=self._jobs,
            keep_going=True,
        )
        self.outcomes |= outcomes
        self._there |= outcomes.keys() - self._failed()

    def _item(
        self, path: StorePath, fixed_outputs: Mapping[StorePath, FixedOutput], size: int | None
    ) -> Item:
        fixed_output = None
        with contextlib.suppress(FormatError):  # of a form that is not known: caches may have it
            fixed_output = fixed_outputs.get(path)
        wanted = Wanted(path=path, fixed_output=fixed_output)
        sources = (*self._workshop.sources(wanted), *self._at_hand)
        return Item(wanted=wanted, sources=sources, size=size)


def _after(damage: Damage, outcomes: Mapping[StorePath, Outcome]) -> Mended:
    outcome = None if damage.path is None else outcomes.get(damage.path)
    if outcome is None:
        return Mended(damage=damage, is_mended=False)
    return Mended(
        damage=damage,
        is_mended=outcome.result == "stored",
        source=outcome.source,
        attempts=outcome.attempts,
    )
