"""Evaluating targets and their edits to root derivations, with one process of Nix for each.

Flakes are evaluated purely, as ``nix build`` and ``nixos-rebuild --flake`` do, without writing
their lock file; files are evaluated as ``nix-build`` does. The derivations are written to the
store that is asked for; protecting them from the garbage collector is left to the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mirror.errors import EvaluationError, FormatError, PrefetchError, first_of
from mirror.formats.store_path import StorePath
from mirror.nix.evaluation import edits, expressions
from mirror.nix.evaluation.edits import EvaluatedEdit
from mirror.nix.evaluation.explained import explain, missing_attribute, refused_package
from mirror.nix.evaluation.recording import Touched, recording
from mirror.nix.origin_of_path import derivation_of
from mirror.planning.lists.targets import (
    FileInstallable,
    FlakeInstallable,
    PathInstallable,
    split_attribute_path,
)
from mirror.system.plain_files import is_directory, why_unreadable
from mirror.system.temporaries import temporary_directory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
    from pathlib import Path

    from mirror.nix.command import Completed, Nix
    from mirror.nix.stores import StoreLocation
    from mirror.planning.lists.targets import Edit, Target

__all__ = ["Evaluated", "EvaluatedEdit", "evaluate", "evaluate_all", "flake_outputs"]

_Result = TypeVar("_Result")

_ALL_OUTPUTS: Final = (2, 20, 0)
"""From here on ``FLAKE#.`` surely means all of a flake's outputs."""

_TYPES: Final = {
    "bool": "a Boolean",
    "float": "a number",
    "int": "a number",
    "lambda": "a function",
    "list": "a list",
    "null": "null",
    "path": "a path",
    "set": "an attribute set that is not a derivation",
    "string": "a string",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A target and its root derivation, and what each of its edits makes of it.

    ``chosen`` is the attribute path that was found for the name in a flake, None for all else.
    ``edits`` are those of the target, in their order. ``touched`` is what all these evaluations
    asked of the store.
    """

    target: Target
    root: StorePath
    chosen: str | None = None
    edits: tuple[EvaluatedEdit, ...] = ()
    touched: Touched = field(default_factory=Touched)

    @property
    def is_dev_shell(self) -> bool:
        """Whether it is there to be entered, by ``nix develop``, rather than to be built."""
        return (self.chosen or "").startswith("devShells.")

    @property
    def roots(self) -> tuple[StorePath, ...]:
        """The target's own root, then those of its edits that have one."""
        return (self.root, *(each.root for each in self.edits if each.root is not None))


def _nobody(name: str) -> None: ...


async def evaluate_all(
    nix: Nix,
    targets: Sequence[Target],
    *,
    store: StoreLocation,
    system: str,
    limit: int,
    begun: Callable[[str], None] = _nobody,
) -> list[Evaluated | EvaluationError]:
    """Evaluate targets and their edits, ``limit`` at once; one that fails stops no other.

    Gives a result or an error for each target, in their order. ``store`` has been opened
    (:func:`~mirror.nix.stores.open_store`). ``begun`` is told of each target and edit when its turn
    comes.

    Raises:
        ToolError: Nix itself, or the store, cannot be used.

    """
    processes = asyncio.Semaphore(limit)

    async def one(target: Target) -> Evaluated | EvaluationError:
        try:
            return await evaluate(
                nix, target, store=store, system=system, processes=processes, begun=begun
            )
        except EvaluationError as error:
            return error
        except OSError as error:
            place = error.filename or target.installable_text
            return EvaluationError(f"{target.name}: {place}: {error.strerror or error}")

    return await _all([one(target) for target in targets])


async def evaluate(
    nix: Nix,
    target: Target,
    *,
    store: StoreLocation,
    system: str,
    processes: asyncio.Semaphore | None = None,
    begun: Callable[[str], None] = _nobody,
) -> Evaluated:
    """Evaluate one target into ``store``, for ``system`` where a flake has several.

    Its edits follow, each for itself: one that cannot be evaluated is a problem of its own.
    ``processes`` bounds how many of them run at once, together with others; None is one.

    Raises:
        EvaluationError: Nix cannot evaluate it (its message ends with Nix's own words), or it
            is not a derivation.
        ToolError: Nix itself cannot be used.

    """
    installable = target.installable
    processes = processes or asyncio.Semaphore(1)
    if isinstance(installable, PathInstallable):
        async with processes:
            root = await derivation_of(nix, target.name, installable.path, store)
        return Evaluated(target=target, root=root)
    async with recording(nix, store) as recorded:
        evaluation = _Evaluation(nix, target, recorded.store, processes, begun)
        match installable:
            case FlakeInstallable(flake=flake, name=name):
                evaluated = await evaluation.flake(flake, name, system)
            case FileInstallable(file=file, attribute=attribute, arguments=arguments):
                if attribute is None:
                    evaluated = await evaluation.configuration(file)
                else:
                    evaluated = await evaluation.file(file, attribute, arguments)
        return replace(evaluated, touched=recorded.touched)


@contextlib.contextmanager
def flake_outputs(nix: Nix, flake: str) -> Iterator[tuple[str, ...]]:
    """Give the arguments of ``nix eval`` that stand for all outputs of a flake."""
    if nix.version >= _ALL_OUTPUTS:
        yield (f"{flake}#.",)
        return
    with temporary_directory() as directory:
        (directory / "flake.nix").write_text(expressions.OUTPUTS_OF_INPUT)
        yield (f"path:{directory}#all", "--override-input", "target", flake)


@dataclass(frozen=True, slots=True)
class _Code:
    """What Nix is to evaluate: the ``function`` of what ``arguments`` say, or its ``attribute``."""

    arguments: tuple[str, ...]
    function: str = expressions.DESCRIBE
    attribute: str | None = None
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """The evaluation of one target's Nix code."""

    nix: Nix
    target: Target
    store: StoreLocation
    processes: asyncio.Semaphore
    begun: Callable[[str], None]

    async def flake(self, flake: str, name: str, system: str) -> Evaluated:
        with flake_outputs(self.nix, flake) as outputs:
            value = await self._value(_Code(outputs, expressions.choose(name, system)))
            if "available" in value:
                raise EvaluationError(
                    f"{self._label}: the flake has no {name!r}",
                    hint=expressions.nearest_attributes(name, value["available"])
                    or "it has no hosts, shells or packages",
                )
            chosen = value["chosen"]
            evaluated = self._evaluated(value, chosen=expressions.attribute_path(chosen))

            async def edited(edit: Edit) -> _Code:
                module = await edits.fetched(self.nix, edit)
                return _Code(outputs, expressions.edited_output(chosen, module))

            return await self._with_edits(evaluated, edited)

    async def configuration(self, file: Path) -> Evaluated:
        """Evaluate a NixOS configuration, as nixos-rebuild does without a flake."""
        self._expect(file)

        def system(expression: str) -> _Code:
            include = ("-I", f"nixos-config={file}")
            return _Code(
                ("--impure", *include, "--expr", expression),
                attribute="system",
                # It would have precedence over -I.
                environment={"NIXOS_CONFIG": ""},
            )

        async def edited(edit: Edit) -> _Code:
            return system(expressions.edited_configuration(file, edits.local(edit)))

        evaluated = self._evaluated(await self._value(system("import <nixpkgs/nixos> { }")))
        return await self._with_edits(evaluated, edited)

    async def file(self, file: Path, attribute: str, arguments: Path | None) -> Evaluated:
        self._expect(file)
        if arguments is not None:
            self._expect(arguments)

        def code(expression: str) -> _Code:
            return _Code(("--impure", "--expr", expression), attribute=attribute)

        async def edited(edit: Edit) -> _Code:
            return code(expressions.edited_call(file, arguments, edits.local(edit)))

        # Without arguments Nix calls a function that has defaults for all it takes by itself.
        call = "" if arguments is None else f" (import {expressions.path(arguments)})"
        base = code(f"import {expressions.path(file)}{call}")
        completed = await self._run(base)
        if completed.returncode != 0 and (name := missing_attribute(completed.error_text)):
            raise await self._no_attribute(base, name)
        return await self._with_edits(self._evaluated(await self._read(completed)), edited)

    async def _no_attribute(self, code: _Code, name: str) -> EvaluationError:
        """Say which attribute a file lacks, and which it has in its place."""
        parts = split_attribute_path(code.attribute or "")
        before = parts[: parts.index(name)] if name in parts else ()
        place = expressions.attribute_path(before) or None
        names = replace(code, function=expressions.NAMES, attribute=place)
        completed = await self._run(names)
        there = json.loads(completed.stdout) if completed.returncode == 0 else []
        wanted = expressions.attribute_path((*before, name))
        return EvaluationError(
            f"{self._label}: the file has no attribute {wanted}",
            hint=expressions.nearest_attributes(wanted, [(*before, each) for each in there]),
        )

    def _expect(self, file: Path) -> None:
        """Check that a file can be read: Nix would fail late, or wait for a pipe forever."""
        why = why_unreadable(file / "default.nix" if is_directory(file) else file)
        if why is not None:
            raise EvaluationError(f"{self._label}: {why}")

    @property
    def _label(self) -> str:
        return f"{self.target.name} ({self.target.installable_text})"

    async def _value(self, code: _Code) -> dict[str, Any]:
        return await self._read(await self._run(code))

    async def _read(self, completed: Completed) -> dict[str, Any]:
        if completed.returncode != 0:
            found = await explain(self.nix, self.target.installable, completed)
            colon = "" if found.problem.startswith("cannot") else ":"
            raise EvaluationError(f"{self._label}{colon} {found.problem}", hint=found.hint)
        value: dict[str, Any] = json.loads(completed.stdout)
        return value

    async def _run(self, code: _Code, edit: str | None = None) -> Completed:
        command = ["nix", "eval", "--json", "--no-write-lock-file", "--store", self.store.url]
        command += ["--apply", code.function, *code.arguments]
        command += [] if code.attribute is None else ["--", code.attribute]
        async with self.processes:
            self.begun(self.target.name if edit is None else f"{self.target.name} with {edit}")
            return await self.nix.run(command, environment=code.environment)

    def _evaluated(self, value: Mapping[str, Any], chosen: str | None = None) -> Evaluated:
        return Evaluated(target=self.target, root=self._root(value, chosen), chosen=chosen)

    def _root(self, value: Mapping[str, Any], chosen: str | None) -> StorePath:
        if value["drvPath"] is None:
            what = f" ({chosen})" if chosen else ""
            kind = _TYPES.get(value["type"], value["type"])
            raise EvaluationError(
                f"{self._label} is not a derivation{what}: it is {kind}",
                hint="name an attribute that can be built",
            )
        try:
            return StorePath.parse(value["drvPath"])
        except FormatError as error:
            raise EvaluationError(f"{self._label} is not a derivation: {error.message}") from error

    async def _with_edits(
        self, evaluated: Evaluated, code_of: Callable[[Edit], Awaitable[_Code]]
    ) -> Evaluated:
        """Evaluate each edit of the target, by the code that ``code_of`` gives for it."""

        async def one(edit: Edit) -> EvaluatedEdit:
            try:
                return await self._edited(edit, await code_of(edit), evaluated.chosen)
            except EvaluationError as error:
                return EvaluatedEdit(edit=edit, root=None, problem=error.message)

        found = await _all([one(edit) for edit in self.target.edits])
        return replace(evaluated, edits=tuple(found))

    async def _edited(self, edit: Edit, code: _Code, chosen: str | None) -> EvaluatedEdit:
        installable = self.target.installable
        is_call = isinstance(installable, FileInstallable) and installable.attribute is not None
        completed = await self._run(code, edit.name)
        if completed.returncode == 0:
            value = json.loads(completed.stdout)
            if "inapplicable" not in value:
                return EvaluatedEdit(edit=edit, root=self._root(value, chosen))
            reason: str | None = f"{chosen} is not part of a configuration with extendModules"
        else:
            reason = edits.inapplicable(completed.last_words, to_function=is_call)
        if reason is not None:
            return EvaluatedEdit(edit=edit, root=None, problem=reason, is_applicable=False)
        refused = refused_package(completed.stderr, installable)
        if refused is not None:
            return EvaluatedEdit(edit=edit, root=None, problem=f"{refused.problem}; {refused.hint}")
        said = completed.error_text + edits.out_of_reach(completed.stderr)
        problem = f"it cannot be evaluated by {self.nix.full_name}:\n{said}"
        return EvaluatedEdit(edit=edit, root=None, problem=problem)


async def _all(coroutines: Sequence[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """Run them concurrently; an unusable Nix stops all of them."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except* PrefetchError as errors:
        raise first_of(errors) from None
    return [task.result() for task in tasks]
