"""What a destination keeps, as the server looks it up and the status page shows it.

Manifests of large systems are long, so they are read again only after something has changed, and
only what is looked up later is remembered of them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, Self

from mirror.destinations.records.privacy import holdings, private_paths
from mirror.planning.refusals import paths
from mirror.quantities import number
from mirror.serve.library.vouchers import Vouchers
from mirror.serve.library.watching import state_of
from mirror.serve.status.for_others import receipt_without_private, without_private
from mirror.sync.kept.completeness import missing_now
from mirror.sync.kept.freshness import rehearsals
from mirror.sync.kept.listing import removal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from mirror.destinations import Generation, Receipt, RunRecord
    from mirror.errors import DestinationError
    from mirror.formats.hashes import Hash
    from mirror.formats.store_path import StorePath
    from mirror.nix.evaluation.flake_inputs import LockedInput
    from mirror.planning.vouching import Vouching
    from mirror.serve.library.library import Library
    from mirror.sync.kept.freshness import Rehearsal

_LOOK_SECONDS: Final = 1.0
"""For how long it is not looked again whether what is kept is there."""


State = tuple[str, Literal["good", "warn", "bad", "soft"]]
"""What is to be said of a host in a word or two, and how it is."""

_URGENCY: Final = ("bad", "warn", "good", "soft")

_REHEARSED: Final[Mapping[str | None, State]] = {
    None: ("complete", "good"),
    "rehearsed": ("complete, rehearsed", "good"),
    "failed": ("rehearsal failed", "bad"),
    "stale": ("complete, rehearsal stale", "warn"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A generation without its long lists; ``paths`` is the number of paths that it keeps.

    ``realisable`` is what a client that evaluates nothing asks for to have it: the root derivation
    if that is kept, else what it makes. None of it may be kept (at level ``runtime`` the manifest
    of an earlier version does not say what the derivation makes).
    """

    generation: Generation
    paths: int
    realisable: tuple[StorePath, ...] = ()

    @classmethod
    def of(cls, generation: Generation) -> Self:
        """Drop the long lists."""
        kept = set(generation.paths)
        realisable: tuple[StorePath, ...] = ()
        if generation.root in kept:
            realisable = (generation.root,)
        elif kept.issuperset(generation.outputs):
            realisable = generation.outputs
        short = replace(generation, paths=(), sources={}, inputs=(), vouched=None, private=())
        return cls(generation=short, paths=len(generation.paths), realisable=realisable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A target with all that is kept of it.

    ``generations`` go from the newest to the oldest, and may be none where no run has succeeded
    yet; ``rehearsal`` is of the newest; ``run`` is what the last run came to. ``vouching`` says who
    vouches for the paths of the newest, and ``keys`` are those that a client of it has to be told.
    ``lost`` (sorted) is what the newest had when it was made, and is gone or damaged now.
    """

    name: str
    generations: tuple[Kept, ...] = ()
    rehearsal: Rehearsal | None = None
    run: RunRecord | None = None
    vouching: Vouching | None = None
    keys: tuple[str, ...] = ()
    lost: tuple[StorePath, ...] = ()

    @property
    def is_listed(self) -> bool:
        """Whether it is on a list still, as far as is known."""
        return self.run is None or self.run.is_listed

    @property
    def newest(self) -> Generation | None:
        """The newest generation."""
        return self.generations[0].generation if self.generations else None

    @property
    def newest_kept(self) -> Kept | None:
        """The newest generation, with what is counted of it."""
        return self.generations[0] if self.generations else None

    @property
    def is_complete(self) -> bool:
        """Whether there is a generation, and the newest has all that was wanted."""
        return self.newest is not None and not self.newest.missing

    @property
    def state(self) -> State:
        """The most important thing to say about it."""
        if not self.is_listed:
            return "on no list any more", "soft"
        if self.newest is None:
            return "nothing kept yet", "bad"
        if self.newest.missing:
            refused = paths(self.newest.refused)
            missing = f"{number(len(self.newest.missing), 'path')} missing"
            missing += f", {refused:,} refused" if refused else ""
            missing += f", {len(self.lost):,} lost or damaged" if self.lost else ""
            return missing, "bad"
        if self.run is not None and not self.run.is_complete:
            return "complete, last run failed", "warn"
        if self.vouching is not None and self.vouching.refused:
            return f"complete, clients refuse {number(len(self.vouching.refused), 'path')}", "warn"
        return _REHEARSED[self.rehearsal.state if self.rehearsal else None]

    @property
    def is_troubled(self) -> bool:
        """Whether somebody should look at it."""
        return self.state[1] in {"bad", "warn"}

    @property
    def is_unproven(self) -> bool:
        """Whether it is well as far as is known, and was never rehearsed."""
        return self.is_listed and not self.is_troubled and self.rehearsal is None

    @property
    def refreshed(self) -> datetime | None:
        """When everything that is wanted was last present."""
        moments = []
        if self.newest is not None and self.is_complete:
            moments.append(self.newest.created)
        if self.run is not None and self.run.is_complete:
            moments.append(self.run.finished)
        return max(moments, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All targets, by name, and what is served under other names than those of Nix's caches.

    ``files`` are plain files by their hash, ``inputs`` the inputs of flakes by their paths' hash
    part. ``paths`` counts those that some generation keeps. ``unreadable`` says of each manifest,
    receipt or record that cannot be read which it is and why; all else is there without it.
    ``removal`` is the command that removes the hosts that are on no list any more; None without.
    Clients are not told the names of ``private`` paths, which is seen to in the runs already.
    """

    hosts: tuple[Host, ...] = ()
    files: Mapping[Hash, StorePath] = field(default_factory=dict)
    inputs: Mapping[str, LockedInput] = field(default_factory=dict)
    paths: int = 0
    unreadable: tuple[str, ...] = ()
    removal: str | None = None
    private: frozenset[StorePath] = frozenset()

    @property
    def troubled(self) -> tuple[Host, ...]:
        """The hosts that somebody should look at, the most urgent first."""
        return tuple(host for host in self.by_urgency if host.is_troubled)

    @property
    def by_urgency(self) -> tuple[Host, ...]:
        """All hosts: those in trouble first, then those that were never rehearsed."""
        return tuple(
            sorted(
                self.hosts, key=lambda host: (_URGENCY.index(host.state[1]), not host.is_unproven)
            )
        )

    @property
    def listed(self) -> tuple[Host, ...]:
        """The hosts that are on a list still."""
        return tuple(host for host in self.hosts if host.is_listed)

    @property
    def oldest_rehearsal(self) -> datetime | None:
        """When the listed host whose rehearsal is the oldest was rehearsed; None without any."""
        return min(
            (each.rehearsal.receipt.created for each in self.listed if each.rehearsal is not None),
            default=None,
        )


class Overviews:
    """The newest overview of a library; what cannot be read is logged once."""

    def __init__(self, library: Library, log: Callable[[str], None]) -> None:
        self._library = library
        self._log = log
        self._overview = Overview()
        self._receipts: Sequence[Receipt] = ()
        self._vouchers = Vouchers(library)
        self._states: Sequence[int] | None = None
        self._kept: Mapping[tuple[str, int], tuple[StorePath, ...]] = {}
        """The paths of each target's newest generation, by target and number."""
        self._private: frozenset[StorePath] = frozenset()
        self._missing: Mapping[tuple[str, int], tuple[StorePath, ...]] = {}
        self._looked_at: float | None = None
        """When it was last looked what is missing of them, by the monotonic clock."""
        self._reading = asyncio.Lock()

    async def newest(self) -> Overview:
        """What is kept; whether it is there now, and what is said of rehearsals, is left out."""
        async with self._reading:
            states = await asyncio.to_thread(self._look)
            if states != self._states:
                known = set(self._overview.unreadable)
                self._overview, self._receipts = await self._read()
                self._states = states
                self._looked_at = None
                for text in self._overview.unreadable:
                    if text not in known:
                        self._log(f"left out: {text}")
            return self._overview

    async def whole(self) -> Overview:
        """What is kept, what of it is missing now, whether it was rehearsed, who vouches for it."""
        await self.newest()
        async with self._reading:
            now = time.monotonic()
            if self._looked_at is None or now - self._looked_at > _LOOK_SECONDS:
                self._missing = await missing_now(
                    self._kept, self._library.destination, private=self._private
                )
                self._looked_at = now
            overview = await asyncio.to_thread(self._as_it_is)
            vouched = await self._vouchers.newest()
        hosts = tuple(
            replace(host, vouching=found.vouching, keys=found.keys)
            if (found := vouched.get(host.name)) is not None
            else host
            for host in overview.hosts
        )
        return replace(overview, hosts=hosts)

    def _look(self) -> Sequence[int]:
        return [state_of(directory) for directory in self._library.destination.watched()]

    async def _read(self) -> tuple[Overview, Sequence[Receipt]]:
        destination = self._library.destination
        errors: list[DestinationError] = []
        generations = await destination.generations(errors.append)
        self._vouchers.read(generations)
        private = self._private = private_paths(holdings(generations))
        runs = {
            each.target: without_private(each, private)
            for each in await destination.run_records(errors.append)
        }
        receipts = [
            receipt_without_private(each, private)
            for each in await destination.receipts(errors.append)
        ]
        of_target: dict[str, list[Kept]] = {name: [] for name in runs}
        for each in sorted(generations, key=lambda each: -each.number):
            of_target.setdefault(each.target, []).append(Kept.of(each))
        # Most hosts share most of their paths, which are kept in memory once.
        same: dict[StorePath, StorePath] = {}
        self._kept = {
            (each.target, each.number): tuple(same.setdefault(path, path) for path in each.paths)
            for each in generations
            if each.number == of_target[each.target][0].generation.number
        }
        overview = Overview(
            hosts=tuple(
                Host(name=name, generations=tuple(of_target[name]), run=runs.get(name))
                for name in sorted(of_target)
            ),
            files={
                digest: path
                for each in generations
                for path, digest in each.sources.items()
                if path not in private
            },
            inputs={
                locked.path.hash_part: locked
                for each in generations
                for locked in each.inputs
                if locked.path not in private
            },
            paths=len({path for each in generations for path in each.paths}),
            unreadable=tuple(error.message for error in errors),
            removal=removal(runs.values(), destination.name),
            private=private,
        )
        return overview, receipts

    def _as_it_is(self) -> Overview:
        """What receipts say depends on lock files, which may have changed since."""
        hosts = [self._with_missing(host) for host in self._overview.hosts]
        newest = [each.newest for each in hosts if each.newest is not None]
        known = {name: each for (name, _), each in rehearsals(newest, self._receipts).items()}
        with_rehearsals = (replace(each, rehearsal=known.get(each.name)) for each in hosts)
        return replace(self._overview, hosts=tuple(with_rehearsals))

    def _with_missing(self, host: Host) -> Host:
        """Add to what the newest generation of a host never had what it has lost since."""
        if not host.generations:
            return host
        newest, *older = host.generations
        generation = newest.generation
        lost = self._missing.get((host.name, generation.number), ())
        missing = tuple(sorted({*generation.missing, *lost}))
        newest = replace(newest, generation=replace(generation, missing=missing))
        lost = tuple(sorted({*lost} - {*generation.missing}))
        return replace(host, generations=(newest, *older), lost=lost)
