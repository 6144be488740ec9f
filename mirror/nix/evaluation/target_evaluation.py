"""The evaluation of one target's Nix code, and of its edits, each by a process of its own."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from mirror.errors import EvaluationError, FormatError
from mirror.formats.store_path import StorePath
from mirror.nix.evaluation import edits, expressions
from mirror.nix.evaluation.edits import EvaluatedEdit
from mirror.nix.evaluation.evaluated import Evaluated
from mirror.nix.evaluation.explained import explain, missing_attribute, refused_package
from mirror.nix.evaluation.recording import Touched, recording
from mirror.planning.lists.targets import (
    FileInstallable,
    split_attribute_path,
)
from mirror.system.plain_files import is_directory, why_unreadable
from mirror.system.temporaries import temporary_directory
from mirror.system.together import all_together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from mirror.nix.command import Completed, Nix
    from mirror.nix.evaluation.evaluators import Evaluators
    from mirror.nix.evaluation.remembering import Remembering
    from mirror.nix.stores import StoreLocation
    from mirror.planning.lists.targets import Edit, Target

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
    """What Nix is to evaluate: the ``function`` of what ``arguments`` say, or its ``attribute``.

    The code of a ``flake`` is evaluated purely.
    """

    arguments: tuple[str, ...]
    function: str = expressions.DESCRIBE
    attribute: str | None = None
    environment: Mapping[str, str] | None = None
    flake: str | None = None


@dataclass(frozen=True, slots=True)
class TargetEvaluation:
    """The evaluation of one target's Nix code."""

    nix: Nix
    target: Target
    store: StoreLocation
    evaluators: Evaluators
    remembering: Remembering | None = None
    _touched: list[Touched] = field(default_factory=list)

    @property
    def touched(self) -> Touched:
        """What all that was evaluated so far asked of the store."""
        return Touched(
            paths=frozenset().union(*(each.paths for each in self._touched)),
            built=frozenset().union(*(each.built for each in self._touched)),
        )

    async def flake(self, flake: str, name: str, system: str) -> Evaluated:
        """Evaluate what a flake has by this name, purely."""
        with flake_outputs(self.nix, flake) as outputs:
            value = await self._value(_Code(outputs, expressions.choose(name, system), flake=flake))
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
                return _Code(outputs, expressions.edited_output(chosen, module), flake=flake)

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
        """Evaluate an attribute of a file, which is called with ``arguments`` if there are any."""
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

    async def _run(self, code: _Code, edit: Edit | None = None) -> Completed:
        if self.remembering is not None and code.flake is not None:
            known = self.remembering.recalled(self.target, edit)
            if known is not None:
                completed, touched = known
                self._touched.append(touched)
                return completed
        name = self.target.name if edit is None else f"{self.target.name} with {edit.name}"
        async with recording(self.nix, self.store) as recorded:
            command = ["nix", "eval", "--json", "--no-write-lock-file"]
            command += ["--store", recorded.store.url, "--apply", code.function, *code.arguments]
            command += [] if code.attribute is None else ["--", code.attribute]
            completed = await self.evaluators.run(
                self.nix, command, name=name, environment=code.environment
            )
        self._touched.append(recorded.touched)
        if self.remembering is not None and code.flake is not None and _is_settled(completed, edit):
            await self.remembering.note(code.flake, code.function, completed, recorded.touched)
        return completed

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

        found = await all_together([one(edit) for edit in self.target.edits])
        return replace(evaluated, edits=tuple(found))

    async def _edited(self, edit: Edit, code: _Code, chosen: str | None) -> EvaluatedEdit:
        installable = self.target.installable
        is_call = isinstance(installable, FileInstallable) and installable.attribute is not None
        completed = await self._run(code, edit)
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


def _is_settled(completed: Completed, edit: Edit | None) -> bool:
    """Whether evaluating it again could only come to the same: a root, or no way to apply an edit.

    What else goes wrong may be the network's fault, or that of the machine.
    """
    if completed.returncode == 0:
        value: dict[str, Any] = json.loads(completed.stdout)
        return isinstance(value.get("drvPath"), str) or "inapplicable" in value
    said = completed.last_words
    return edit is not None and edits.inapplicable(said, to_function=False) is not None
