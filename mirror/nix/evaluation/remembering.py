"""Not evaluating again what has not changed.

What an evaluator answered for a flake is remembered (:mod:`mirror.nix.evaluation.memory`) under all
that the answer can depend on (:mod:`mirror.nix.evaluation.identity`). It is believed as long as
everything that the evaluation made and read is still in the store, with the same content: its
derivations, the sources that it copied there, and what import from derivation built, which need not
come out the same a second time. Otherwise Nix evaluates again.

Only flakes are remembered: what an impure evaluation reads (files, channels, the environment)
nobody tells. What fails is evaluated again each time; that an edit does not apply is remembered.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mirror.errors import EvaluationError, FormatError
from mirror.formats.aterm import parse_derivation
from mirror.formats.store_path import StorePath
from mirror.nix.command import Completed
from mirror.nix.evaluation import edits, expressions, memory
from mirror.nix.evaluation.identity import (
    evaluation_key,
    evaluator_identity,
    flake_identity,
    state_of,
)
from mirror.nix.evaluation.memory import Answer
from mirror.nix.evaluation.recording import Touched
from mirror.planning.lists.targets import FlakeInstallable
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mirror.nix.command import Nix
    from mirror.nix.evaluation.identity import FlakeIdentity
    from mirror.nix.protocol.connection import Connection
    from mirror.nix.settings import NixSettings
    from mirror.nix.stores import StoreLocation
    from mirror.planning.lists.targets import Edit, Target

_PROCESSES: Final = 4


@dataclass(frozen=True, slots=True)
class _Noted:
    """What an evaluator answered in this run."""

    flake: str
    function: str
    answer: Answer


@dataclass(slots=True)
class Remembering:
    """What is remembered of some targets' evaluations, and what is to be remembered of this run.

    ``connection`` is one to ``store``: what is believed is protected from the garbage collector
    until it is closed. ``system`` is that of the ``settings``.
    """

    nix: Nix
    store: StoreLocation
    settings: NixSettings
    connection: Connection
    _evaluator: str | None = None
    _flakes: dict[str, FlakeIdentity] = field(default_factory=dict)
    _states: dict[str, str | None] = field(default_factory=dict)
    _recalled: dict[tuple[str, str | None], Answer] = field(default_factory=dict)
    _noted: list[_Noted] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many evaluations, of targets and of edits, need not be done."""
        return len(self._recalled)

    def recalled(self, target: Target, edit: Edit | None) -> tuple[Completed, Touched] | None:
        """What evaluating the target, or an edit of it, comes to; None if it has to be done."""
        answer = self._recalled.get((target.name, edit.name if edit else None))
        if answer is None:
            return None
        completed = Completed(
            arguments=(),
            returncode=answer.returncode,
            stdout=answer.stdout.encode(),
            stderr=answer.stderr,
        )
        return completed, Touched(paths=answer.touched, built=answer.built)

    async def note(self, flake: str, function: str, completed: Completed, touched: Touched) -> None:
        """Keep what an evaluator has just answered, for :meth:`save`.

        Raises:
            ToolError: the store cannot be used.

        """
        # Nix may have seen another state of the flake than was there before and is there after.
        if flake in self._flakes and self._flakes[flake].source in touched.paths:
            answer = await self._answer(completed, touched)
            if answer is not None:
                self._noted.append(_Noted(flake, function, answer))

    async def recall(self, targets: Sequence[Target], *, believe: bool = True) -> None:
        """Find out what need not be evaluated of the targets; their names are unique.

        Unless it is to ``believe``, all is to be evaluated, and remembered for the next run.

        Raises:
            ToolError: Nix or the store cannot be used.

        """
        self._evaluator = await in_thread(
            evaluator_identity, self.nix, self.settings, store=self.store
        )
        if self._evaluator is None:
            return
        flakes = {
            each.installable.flake: None
            for each in targets
            if isinstance(each.installable, FlakeInstallable)
        }
        self._flakes = await self._identities(flakes)
        if believe:
            self._recalled = await self._believed(await self._look_up(targets))
        for flake in self._to_be_evaluated(targets):
            self._states[flake] = await in_thread(state_of, self._flakes[flake].trees)

    async def save(self) -> None:
        """Remember what was noted, of flakes that did not change in the meantime.

        Raises:
            ToolError: Nix or the store cannot be used.

        """
        noted, self._noted = self._noted, []
        unchanged = await self._unchanged({each.flake for each in noted})
        answers = {
            self._key(self._flakes[each.flake], each.function): each.answer
            for each in noted
            if each.flake in unchanged
        }
        if answers:
            await in_thread(memory.remember, self.nix.cache_directory, answers)

    async def _identities(self, flakes: Iterable[str]) -> dict[str, FlakeIdentity]:
        turns = asyncio.Semaphore(_PROCESSES)

        async def one(flake: str) -> FlakeIdentity | None:
            async with turns:
                return await flake_identity(self.nix, flake, store=self.store)

        names = list(flakes)
        found = await asyncio.gather(*map(one, names))
        return {name: each for name, each in zip(names, found, strict=True) if each is not None}

    def _to_be_evaluated(self, targets: Iterable[Target]) -> set[str]:
        """The flakes of which something is not recalled."""
        flakes: set[str] = set()
        for target in targets:
            match target.installable:
                case FlakeInstallable(flake=flake) if flake in self._flakes:
                    which = {(target.name, each.name) for each in target.edits}
                    if not self._recalled.keys() >= {(target.name, None), *which}:
                        flakes.add(flake)
        return flakes

    async def _unchanged(self, flakes: Iterable[str]) -> set[str]:
        now = await self._identities(flakes)
        unchanged = set()
        for flake, identity in now.items():
            state = await in_thread(state_of, identity.trees)
            same = identity == self._flakes[flake] and state == self._states.get(flake)
            if same and state is not None:
                unchanged.add(flake)
        return unchanged

    def _key(self, flake: FlakeIdentity, function: str) -> str:
        return evaluation_key(self._evaluator or "", flake, function)

    async def _recall(self, keys: Iterable[str]) -> dict[str, Answer]:
        return await in_thread(memory.recall, self.nix.cache_directory, list(keys))

    async def _look_up(self, targets: Sequence[Target]) -> dict[tuple[str, str | None], Answer]:
        """What is remembered of the targets, and of the edits of those of which something is."""
        keys: dict[tuple[str, str | None], str] = {}
        for target in targets:
            match target.installable:
                case FlakeInstallable(flake=flake, name=name) if flake in self._flakes:
                    function = expressions.choose(name, self.settings.system)
                    keys[target.name, None] = self._key(self._flakes[flake], function)
        answers = await self._recall(keys.values())
        bases = {which: answers[key] for which, key in keys.items() if key in answers}
        edited: dict[tuple[str, str | None], str] = {}
        modules: dict[Edit, str | None] = {}
        for target in targets:
            base = bases.get((target.name, None))
            if base is None or not isinstance(target.installable, FlakeInstallable):
                continue
            flake_now = self._flakes[target.installable.flake]
            chosen = json.loads(base.stdout)["chosen"]
            for edit in target.edits:
                if edit not in modules:
                    modules[edit] = await self._module(edit)
                module = modules[edit]
                if module is not None:
                    function = expressions.edited_output(chosen, module)
                    edited[target.name, edit.name] = self._key(flake_now, function)
        answers = await self._recall(edited.values())
        return bases | {which: answers[key] for which, key in edited.items() if key in answers}

    async def _module(self, edit: Edit) -> str | None:
        try:
            return await edits.fetched(self.nix, edit)
        except EvaluationError:
            return None  # it is said where the edit is evaluated

    async def _believed(
        self, found: Mapping[tuple[str, str | None], Answer]
    ) -> dict[tuple[str, str | None], Answer]:
        """Those that stand on what the store has, which is protected from now on."""
        paths = {path for each in found.values() for path, known in each.paths.items() if known}
        await self.connection.add_temp_roots(paths)
        infos = await self.connection.query_path_infos(paths)
        hashes = {path: info.nar_hash.sri for path, info in infos.items()}
        return {
            which: each
            for which, each in found.items()
            if all(hashes.get(path) == known for path, known in each.paths.items() if known)
        }

    async def _answer(self, completed: Completed, touched: Touched) -> Answer | None:
        """What to remember of an evaluation; None if it stands on what nobody can compare."""
        root: str | None = None
        if completed.returncode == 0:
            root = json.loads(completed.stdout).get("drvPath")
        try:
            built = await in_thread(self._outputs, touched.built)
            roots = [StorePath.parse(root)] if root else []
        except (OSError, FormatError):
            return None
        if built is None:
            return None
        paths = {*roots, *touched.paths, *touched.built, *built}
        # What is collected and built again from now on could have another content.
        await self.connection.add_temp_roots(paths)
        infos = await self.connection.query_path_infos(paths)
        if not infos.keys() >= {*roots, *touched.built}:
            return None
        return Answer(
            returncode=completed.returncode,
            stdout=completed.stdout.decode(errors="replace"),
            stderr=completed.last_words if completed.returncode != 0 else "",
            paths={path: infos[path].nar_hash.sri if path in infos else None for path in paths},
            touched=touched.paths,
            built=touched.built,
        )

    def _outputs(self, derivations: Iterable[StorePath]) -> set[StorePath] | None:
        """What import from derivation built; None if that has no names of its own beforehand."""
        outputs: set[StorePath] = set()
        for path in derivations:
            derivation = parse_derivation(path, self.store.real(path).read_bytes())
            paths = derivation.output_paths()
            if len(paths) != len(derivation.outputs):
                return None
            outputs.update(paths)
        return outputs
