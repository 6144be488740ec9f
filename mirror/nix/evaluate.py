"""Evaluating targets to their root derivations, with one process of Nix for each.

Flakes are evaluated purely, as ``nix build`` and ``nixos-rebuild --flake`` do, without writing
their lock file; files are evaluated as ``nix-build`` does. The derivations are written to the
store that is asked for; protecting them from the garbage collector is left to the caller.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirror.errors import EvaluationError, FormatError, PrefetchError, first_of
from mirror.formats.store_path import StorePath
from mirror.nix import expressions
from mirror.nix.origin_of_path import derivation_of
from mirror.nix.stores import open_store
from mirror.planning.targets import FileInstallable, FlakeInstallable, PathInstallable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation
    from mirror.planning.targets import Target

_ALL_OUTPUTS: Final = (2, 20, 0)
"""From here on ``FLAKE#.`` surely means all of a flake's outputs."""

_NAMES_SHOWN: Final = 20

_NO_NIXPKGS: Final = "file 'nixpkgs/nixos' was not found in the Nix search path"
_NO_NIXPKGS_HINT: Final = (
    "say where nixpkgs is, as for nixos-rebuild: NIX_PATH=nixpkgs=/path/to/nixpkgs prefetch …"
)

_TYPES: Final = {
    "bool": "a Boolean",
    "float": "a number",
    "int": "a number",
    "lambda": "a function",
    "list": "a list",
    "null": "null",
    "path": "a path",
    "set": "an attribute set that is no derivation",
    "string": "a string",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A target and its root derivation.

    ``chosen`` is the attribute path that was found for the name in a flake, None for all else.
    """

    target: Target
    root: StorePath
    chosen: str | None = None


async def evaluate_all(
    nix: Nix, targets: Sequence[Target], *, store: StoreLocation, system: str, limit: int
) -> list[Evaluated | EvaluationError]:
    """Evaluate targets, ``limit`` at once; one that fails does not stop the others.

    Gives a result or an error for each target, in their order.

    Raises:
        ToolError: Nix itself, or the store, cannot be used.

    """
    await open_store(nix, store)
    semaphore = asyncio.Semaphore(limit)

    async def one(target: Target) -> Evaluated | EvaluationError:
        async with semaphore:
            try:
                return await evaluate(nix, target, store=store, system=system)
            except EvaluationError as error:
                return error

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(target)) for target in targets]
    except* PrefetchError as errors:
        raise first_of(errors) from None
    return [task.result() for task in tasks]


async def evaluate(nix: Nix, target: Target, *, store: StoreLocation, system: str) -> Evaluated:
    """Evaluate one target into ``store``, for ``system`` where a flake has several.

    Raises:
        EvaluationError: Nix cannot evaluate it (its message ends with Nix's own words), or it
            is no derivation.
        ToolError: Nix itself cannot be used.

    """
    match target.installable:
        case FlakeInstallable(flake=flake, name=name):
            return await _Evaluation(nix, target, store).flake(flake, name, system)
        case FileInstallable(file=file, attribute=attribute, arguments=arguments):
            evaluation = _Evaluation(nix, target, store)
            if attribute is None:
                return await evaluation.configuration(file)
            return await evaluation.file(file, attribute, arguments)
        case PathInstallable(path=path):
            root = await derivation_of(nix, target.name, path, store)
            return Evaluated(target=target, root=root)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """One evaluation of Nix code."""

    nix: Nix
    target: Target
    store: StoreLocation

    async def flake(self, flake: str, name: str, system: str) -> Evaluated:
        choose = expressions.choose(name, system)
        if self.nix.version >= _ALL_OUTPUTS:
            value = await self._eval([f"{flake}#."], choose)
        else:
            with tempfile.TemporaryDirectory(prefix="prefetch-") as directory:
                (Path(directory) / "flake.nix").write_text(expressions.OUTPUTS_OF_INPUT)
                value = await self._eval(
                    [f"path:{directory}#all", "--override-input", "target", flake], choose
                )
        if "available" in value:
            names = [expressions.attribute_path(path) for path in value["available"]]
            shown = ", ".join(names[:_NAMES_SHOWN]) + (" …" if len(names) > _NAMES_SHOWN else "")
            raise EvaluationError(
                f"{self._label}: the flake has no {name!r}",
                hint=f"it has: {shown}" if names else "it has no hosts, shells or packages",
            )
        chosen = expressions.attribute_path(value["chosen"])
        return self._evaluated(value, chosen=chosen)

    async def configuration(self, file: Path) -> Evaluated:
        """Evaluate a NixOS configuration, as nixos-rebuild does without a flake."""
        self._expect(file)
        value = await self._eval(
            ["--impure", "-I", f"nixos-config={file}", "--expr", "import <nixpkgs/nixos> { }"],
            expressions.DESCRIBE,
            attribute="system",
            # It would have precedence over -I.
            environment={"NIXOS_CONFIG": ""},
        )
        return self._evaluated(value)

    async def file(self, file: Path, attribute: str, arguments: Path | None) -> Evaluated:
        self._expect(file)
        if arguments is not None:
            self._expect(arguments)
        # Without arguments Nix calls a function that has defaults for all it takes by itself.
        call = "" if arguments is None else f" (import {expressions.path(arguments)})"
        value = await self._eval(
            ["--impure", "--expr", f"import {expressions.path(file)}{call}"],
            expressions.DESCRIBE,
            attribute=attribute,
        )
        return self._evaluated(value)

    def _expect(self, file: Path) -> None:
        """Say that a file is missing: Nix would say so late, or only that <nixpkgs> is."""
        if not file.exists():
            raise EvaluationError(f"{self._label}: there is no {file}")

    @property
    def _label(self) -> str:
        return f"{self.target.name} ({self.target.installable_text})"

    async def _eval(
        self,
        arguments: Sequence[str],
        function: str,
        *,
        attribute: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Evaluate ``function`` of what ``arguments`` say, or of its ``attribute``."""
        command = ["nix", "eval", "--json", "--no-write-lock-file", "--store", self.store.url]
        command += ["--apply", function, *arguments]
        command += [] if attribute is None else ["--", attribute]
        completed = await self.nix.run(command, environment=environment)
        if completed.returncode != 0:
            raise EvaluationError(
                f"{self._label} cannot be evaluated by Nix {self.nix.version_text}:\n"
                f"{completed.error_text}",
                hint=_NO_NIXPKGS_HINT if _NO_NIXPKGS in completed.error_text else None,
            )
        value: dict[str, Any] = json.loads(completed.stdout)
        return value

    def _evaluated(self, value: Mapping[str, Any], chosen: str | None = None) -> Evaluated:
        if value["drvPath"] is None:
            what = f" ({chosen})" if chosen else ""
            kind = _TYPES.get(value["type"], value["type"])
            raise EvaluationError(
                f"{self._label} is no derivation{what}: it is {kind}",
                hint="name an attribute that can be built",
            )
        try:
            root = StorePath.parse(value["drvPath"])
        except FormatError as error:
            raise EvaluationError(f"{self._label} is no derivation: {error.message}") from error
        return Evaluated(target=self.target, root=root, chosen=chosen)
