"""What it takes to evaluate a target again, without a network and with empty caches of Nix.

That is what the evaluation asked of the store (:mod:`mirror.nix.evaluation.recording`), import from
derivation included; for a flake all of its inputs, used or not; for a file what the search path
leads to; for a dev shell what ``nix develop`` adds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.formats.aterm import parse_derivation
from mirror.nix.closure import closure
from mirror.nix.evaluation.dev_shell import dev_shell
from mirror.nix.evaluation.file_inputs import file_inputs
from mirror.nix.evaluation.flake_inputs import flake_inputs
from mirror.planning.lists.targets import (
    FileInstallable,
    FlakeInstallable,
    PathInstallable,
    split_attribute_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.nix.evaluation.evaluate import Evaluated
    from mirror.nix.evaluation.flake_inputs import FlakeInputs, LockedInput
    from mirror.nix.evaluation.places import Place
    from mirror.nix.protocol.connection import Connection
    from mirror.nix.stores import StoreLocation


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationNeeds:
    """What evaluating a target offline needs.

    ``references`` are the paths, which the evaluating store holds, with what each refers to (itself
    left out): closed. ``derivations``, which are among them, are to be made ready as the target's
    own is: those that ``nix develop`` builds. ``locked``, ``registry`` and ``lock_hash`` are as
    :class:`~mirror.nix.evaluation.flake_inputs.FlakeInputs` has them, and so are ``names`` and
    ``places``; those of a file are of its search path. ``notices`` are for the user.
    """

    references: Mapping[StorePath, tuple[StorePath, ...]] = field(default_factory=dict)
    derivations: frozenset[StorePath] = frozenset()
    locked: tuple[LockedInput, ...] = ()
    registry: Mapping[str, str] = field(default_factory=dict)
    lock_hash: str | None = None
    notices: tuple[str, ...] = ()
    names: Mapping[str, StorePath] = field(default_factory=dict)
    places: Mapping[StorePath, frozenset[Place]] = field(default_factory=dict)

    @property
    def paths(self) -> frozenset[StorePath]:
        """All of the paths."""
        return frozenset(self.references)


class Inputs:
    """The inputs of flakes, each flake asked for once: a hundred targets may be of one."""

    def __init__(self, nix: Nix, store: StoreLocation) -> None:
        self._nix = nix
        self._store = store
        self._found: dict[str, FlakeInputs] = {}

    async def of(self, flake: str) -> FlakeInputs:
        """What :func:`~mirror.nix.evaluation.flake_inputs.flake_inputs` finds, and raises."""
        if flake not in self._found:
            self._found[flake] = await flake_inputs(self._nix, flake, store=self._store)
        return self._found[flake]


async def evaluation_needs(
    nix: Nix,
    evaluated: Evaluated,
    *,
    store: StoreLocation,
    connection: Connection,
    inputs: Inputs | None = None,
) -> EvaluationNeeds:
    """Find what evaluating a target again needs of ``store``, where it was evaluated.

    ``connection`` is one to the same store: as long as it is open, no collection takes the paths.
    ``inputs`` are those that are known already.

    Raises:
        EvaluationError: a flake's input cannot be had.
        ToolError: Nix cannot be used.

    """
    match evaluated.target.installable:
        case FlakeInstallable(flake=flake):
            found = await (inputs or Inputs(nix, store)).of(flake)
            return await _Needs(nix, evaluated, store, connection).of_flake(flake, found)
        case FileInstallable() as installable:
            return await _Needs(nix, evaluated, store, connection).of_file(installable)
        case PathInstallable():
            return EvaluationNeeds()


@dataclass(frozen=True, slots=True)
class _Needs:
    nix: Nix
    evaluated: Evaluated
    store: StoreLocation
    connection: Connection

    async def of_flake(self, flake: str, inputs: FlakeInputs) -> EvaluationNeeds:
        touched, notices = [self.evaluated.touched], []
        derivations: frozenset[StorePath] = frozenset()
        if inputs.unlocked:
            notices.append(
                f"its lock file lacks {', '.join(inputs.unlocked)}, so evaluating it needs the "
                f"network: `nix flake lock` locks {'it' if len(inputs.unlocked) == 1 else 'them'}"
            )
        chosen = self.evaluated.chosen
        if chosen is not None and self.evaluated.is_dev_shell:
            shell = await dev_shell(
                self.nix,
                flake,
                chosen,
                system=split_attribute_path(chosen)[1],
                store=self.store,
                known=self.evaluated.touched,
            )
            touched.append(shell.touched)
            notices += shell.notices
            derivations = shell.derivations
        paths = {*inputs.paths, *derivations, *(path for each in touched for path in each.paths)}
        built = {path for each in touched for path in each.built}
        return EvaluationNeeds(
            references=await self._closure({*paths, *await self._outputs(built)}),
            derivations=derivations,
            locked=inputs.locked,
            registry=inputs.registry,
            lock_hash=inputs.lock_hash,
            notices=tuple(notices),
            names=inputs.names,
            places=inputs.places,
        )

    async def of_file(self, installable: FileInstallable) -> EvaluationNeeds:
        inputs = await file_inputs(self.nix, installable, store=self.store)
        touched = self.evaluated.touched
        outputs = await self._outputs(touched.built)
        references = await self._closure({*inputs, *touched.paths, *outputs})
        return EvaluationNeeds(
            references=references,
            names={name: path for path, name in inputs.items()},
            notices=tuple(
                f"{name} leads to {path}, which the store {self.store.url} does not have"
                for path, name in inputs.items()
                if path not in references
            ),
        )

    async def _outputs(self, derivations: Iterable[StorePath]) -> set[StorePath]:
        """What import from derivation built."""

        def read() -> set[StorePath]:
            outputs = set()
            for path in derivations:
                derivation = parse_derivation(path, self.store.real(path).read_bytes())
                outputs.update(derivation.output_paths())
            return outputs

        return await asyncio.to_thread(read)

    async def _closure(self, paths: Iterable[StorePath]) -> dict[StorePath, tuple[StorePath, ...]]:
        """The valid ones of ``paths`` and everything they refer to, protected from now on."""

        async def protect(unread: set[StorePath]) -> Mapping[StorePath, PathInfo]:
            await self.connection.add_temp_roots(unread)
            return await self.connection.query_path_infos(unread)

        infos = await closure(paths, protect)
        return {
            path: tuple(each for each in info.references if each != path)
            for path, info in infos.items()
        }
