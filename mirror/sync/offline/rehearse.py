"""``rehearse``: evaluate and build what was kept, for real, where there is nothing else.

An empty scratch store is fed from the newest generation alone, every path verified on its way; Nix
collects its garbage; then real Nix evaluates the target and its edits and builds them (a dev shell
it enters), by a user who never ran Nix before and where no network interface is up. What comes of
it is recorded at the destination as a receipt. The scratch store is removed however it ends.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from mirror.destinations import Receipt
from mirror.destinations.records.receipt import DOES_NOT_APPLY
from mirror.errors import (
    DestinationError,
    EvaluationError,
    IncompleteError,
    PrefetchError,
    SourceError,
)
from mirror.nix.evaluation.dev_shell import enter
from mirror.nix.evaluation.evaluate import Evaluated
from mirror.nix.evaluation.evaluators import EvaluatorBounds
from mirror.nix.origin_of_path import derivation_of
from mirror.nix.protocol import daemon
from mirror.nix.realise import realise
from mirror.nix.settings import read_settings
from mirror.nix.stores import StoreLocation, locate
from mirror.planning.lists.targets import FlakeInstallable, PathInstallable
from mirror.sync.kept.freshness import lock_file, lock_hash
from mirror.sync.offline.alone import expect_room, newcomer, refusal, scratch_directory
from mirror.sync.offline.scratch_store import fill
from mirror.sync.prepare import build_graph, evaluate_isolated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from mirror.destinations import Destination, Generation
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.planning.graph import Graph
    from mirror.planning.lists.targets import Target
    from mirror.sync.report import Observer

_NO_SUBSTITUTES: Final = {"substitute": "false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """The result for one target, or for one edit of it.

    ``problem`` is why it failed, or why the edit does not apply; ``built`` counts the derivations
    that Nix built for it, beyond those that it had built for what came before. ``is_possible``: it
    could be tried here. ``is_left_out``: it could not, because it is for another platform, which
    says nothing against it.
    """

    target: Target
    edit: str | None = None
    built: int = 0
    problem: PrefetchError | None = None
    is_applicable: bool = True
    is_possible: bool = True
    is_left_out: bool = False

    @property
    def has_passed(self) -> bool:
        """Whether it was built (what does not apply needs nothing)."""
        return not self.is_applicable or self.problem is None


def have_passed(rehearsed: Sequence[Rehearsed]) -> bool:
    """Whether all was built but for what is left out; nothing is proven where that is all."""
    tried = [each for each in rehearsed if not each.is_left_out]
    return bool(tried) and all(each.has_passed for each in tried)


async def rehearse(
    targets: Sequence[Target],
    nix: Nix,
    observer: Observer,
    destination: Destination,
    *,
    store: str | None,
    bounds: EvaluatorBounds | None = None,
) -> list[Rehearsed]:
    """Rehearse the newest generation of each target; one that fails stops no other.

    ``store`` is asked only for the derivation of a path that is a target itself, such as a profile;
    all else is evaluated in a scratch store, within ``bounds``.

    Raises:
        ToolError: Nix cannot be used, or its network cannot be taken away.
        DestinationError: there is not enough room for a scratch store.

    """
    isolated = await nix.isolated()
    settings = await read_settings(nix)
    newest = {each.target: each for each in await destination.generations()}
    place = Path(nix.environment.get("TMPDIR") or tempfile.gettempdir())
    for target in targets:
        if target.name in newest:
            expect_room(place, newest[target.name])
    rehearsed: list[Rehearsed] = []
    for target in targets:
        generation = newest.get(target.name)
        if generation is None:
            problem = _no_generation(target, destination)
            rehearsed.append(Rehearsed(target=target, problem=problem, is_possible=False))
            continue
        if (foreign := await refusal(generation, destination, settings)) is not None:
            rehearsed.append(
                Rehearsed(target=target, problem=foreign, is_possible=False, is_left_out=True)
            )
            continue
        file = lock_file(target)
        locked = await asyncio.to_thread(lock_hash, file)
        async with scratch_directory(place) as directory:
            rehearsal = _Rehearsal(
                target,
                generation,
                isolated=isolated,
                directory=directory,
                observer=observer,
                store=store,
                bounds=bounds or EvaluatorBounds(),
            )
            parts = await rehearsal.run(destination)
        rehearsed += parts
        receipt = Receipt(
            target=target.name,
            number=generation.number,
            root=rehearsal.root,
            nix_version=nix.version_text,
            created=datetime.now(UTC).replace(microsecond=0),
            lock_file=file,
            lock_hash=locked,
            problem=_text(parts[0]),
            edits={each.edit: _text(each) for each in parts if each.edit is not None},
        )
        try:
            await destination.record(receipt)
        except DestinationError as error:
            # What was found out still counts, also for one who may only read the destination.
            observer.notice(f"the receipt of {target.name} cannot be kept: {error.message}")
    return rehearsed


class _Rehearsal:
    """One target's rehearsal, in a scratch directory of its own."""

    def __init__(
        self,
        target: Target,
        generation: Generation,
        *,
        isolated: Nix,
        directory: Path,
        observer: Observer,
        store: str | None,
        bounds: EvaluatorBounds,
    ) -> None:
        self._target = target
        self._user = isolated
        self._user_store = store
        self._bounds = bounds
        self._generation = generation
        self._observer = observer
        self._nix = newcomer(isolated, directory / "home")
        self._store = StoreLocation.parse(f"local?root={quote(str(directory / 'store'))}")
        self.root = generation.root
        """The derivation that was rehearsed: the generation's, unless the target has changed."""

    async def run(self, destination: Destination) -> list[Rehearsed]:
        """Rehearse the target, and then each edit; the target itself comes first."""
        try:
            await fill(
                self._store,
                self._generation,
                destination,
                nix=self._nix,
                observer=self._observer,
            )
            evaluated, graph = await self._evaluated()
        except (SourceError, EvaluationError) as error:
            return [Rehearsed(target=self._target, problem=error)]
        self.root = evaluated.root
        if self.root != self._generation.root:
            self._observer.notice(
                f"{self._target.name} has changed since generation {self._generation.number} was "
                "kept: what is rehearsed is what it is now"
            )
        if evaluated.is_dev_shell:
            return [await self._try(None, graph, self._enter(evaluated))]
        parts = [await self._try(None, graph, self._build(None, evaluated.root))]
        for each in evaluated.edits:
            if each.root is not None:
                attempt = self._build(each.edit.name, each.root)
                parts.append(await self._try(each.edit.name, graph, attempt))
                continue
            parts.append(
                Rehearsed(
                    target=self._target,
                    edit=each.edit.name,
                    problem=EvaluationError(each.problem or ""),
                    is_applicable=each.is_applicable,
                )
            )
        return parts

    async def _evaluated(self) -> tuple[Evaluated, Graph]:
        installable = self._target.installable
        if not isinstance(installable, PathInstallable):
            evaluation = await evaluate_isolated(
                [self._target],
                self._nix,
                self._observer,
                store=self._store,
                bounds=self._bounds,
            )
            ((_, result),) = evaluation.results
            if not isinstance(result, Evaluated):
                raise result
            return result, evaluation.graph
        place = await locate(self._user, self._user_store)
        root = await derivation_of(self._user, self._target.name, installable.path, place)
        if root not in self._generation.paths:
            raise EvaluationError(
                f"{installable.path} is made by {root}, which is not kept",
                hint="it has changed since: sync it again",
            )
        evaluated = Evaluated(target=self._target, root=root)
        return evaluated, await build_graph(self._store, evaluated.roots)

    async def _build(self, edit: str | None, root: StorePath) -> None:
        name = self._target.name + (f" with {edit}" if edit else "")
        self._observer.step(f"building {name} without a network")
        await realise(self._nix, [root], store=self._store, options=_NO_SUBSTITUTES)

    async def _enter(self, evaluated: Evaluated) -> None:
        """Enter a dev shell, which proves more than building it, if it can be built at all."""
        assert isinstance(self._target.installable, FlakeInstallable)
        assert evaluated.chosen is not None
        self._observer.step(f"entering {self._target.name} without a network")
        flake = self._target.installable.flake
        await enter(self._nix, flake, evaluated.chosen, store=self._store)

    async def _try(self, edit: str | None, graph: Graph, attempt: Awaitable[None]) -> Rehearsed:
        """Run the proof, and count what Nix built for it."""
        outputs = list(graph.makers)
        async with daemon.connect(self._nix, self._store) as connection:
            before = await connection.query_valid_paths(outputs)
            problem = None
            try:
                await attempt
            except SourceError as error:
                problem = error
            added = await connection.query_valid_paths(outputs) - before
        return Rehearsed(
            target=self._target,
            edit=edit,
            built=len({graph.makers[path][0] for path in added}),
            problem=problem,
        )


def _no_generation(target: Target, destination: Destination) -> IncompleteError:
    return IncompleteError(
        f"{destination.name} has no generation of {target.name}",
        hint="make one first: prefetch sync LIST, with the same --to",
    )


def _text(part: Rehearsed) -> str | None:
    if part.problem is None:
        return None
    return f"{'' if part.is_applicable else DOES_NOT_APPLY}{part.problem.message}"
