"""What paths are called in a target's own package set, verified by evaluation.

Guesses are looked up in the package set that the target was made with, and a guess counts only if
it evaluates to the very path. Nothing is built. A set that cannot be evaluated, or is not there,
gives no names: a name is a convenience, and no reason for a failure.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.nix.evaluation import expressions
from mirror.nix.evaluation.evaluate import flake_outputs
from mirror.planning.lists.targets import FileInstallable, FlakeInstallable, split_attribute_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.nix.evaluation.evaluate import Evaluated
    from mirror.nix.stores import StoreLocation
    from mirror.planning.names import AttributePath, Candidates

_CONFIGURATIONS: Final = ("nixosConfigurations", "homeConfigurations", "darwinConfigurations")
_BY_SYSTEM: Final = ("devShells", "packages", "legacyPackages")

_LONGEST_ARGUMENT: Final = 100_000
"""Bytes of names for one process: Linux allows an argument of 128 KiB."""

_MOST_FAILURES: Final = 12
"""Enough to find one bad name among a thousand."""


async def attribute_names(
    nix: Nix,
    evaluated: Evaluated,
    wanted: Mapping[StorePath, Candidates],
    *,
    store: StoreLocation,
    system: str,
) -> dict[StorePath, str]:
    """Find the names of ``wanted`` paths: ``pkgs.gettext``, ``pkgs.openssh.dev``.

    ``pkgs`` is the package set of the target: of its configuration, else what its flake or its file
    has for ``system``. Paths whose name is not found are left out.

    Raises:
        ToolError: Nix itself cannot be used.

    """
    guesses = dict.fromkeys(each for one in wanted.values() for each in one.attributes)
    with _package_set(nix, evaluated, system) as code:
        if code is None or not guesses:
            return {}
        known = await _packages(nix, code, list(guesses), store)
    names = {}
    for path, sought in wanted.items():
        for each in sought.attributes:
            package = known.get(each)
            if package is None:
                continue
            if package["first"] == path:
                names[path] = f"pkgs.{expressions.attribute_path(each)}"
                break
            if package["outputs"].get(sought.output) == path:
                names[path] = f"pkgs.{expressions.attribute_path((*each, sought.output))}"
                break
    return names


@dataclass(frozen=True, slots=True)
class _Code:
    """A ``function`` that makes the package set of what ``arguments`` say to Nix."""

    function: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] | None = None


async def _packages(
    nix: Nix, code: _Code, guesses: Sequence[AttributePath], store: StoreLocation
) -> dict[AttributePath, Any]:
    """Look up all guesses at once: their paths, or None for what is no package.

    Not every error can be caught within an evaluation. The halves of what failed are tried by
    themselves, a few times.
    """
    known: dict[AttributePath, Any] = {}
    portions = deque(_portions(guesses))
    failures = 0
    while portions and failures < _MOST_FAILURES:
        some = portions.popleft()
        command = ["nix", "eval", "--json", "--no-write-lock-file", "--store", store.url]
        command += ["--apply", expressions.described_packages(code.function, some)]
        completed = await nix.run([*command, *code.arguments], environment=code.environment)
        if completed.returncode == 0:
            known |= zip(some, json.loads(completed.stdout), strict=True)
            continue
        failures += 1
        if len(some) > 1:
            middle = len(some) // 2
            portions += [some[:middle], some[middle:]]
    return known


@contextlib.contextmanager
def _package_set(nix: Nix, evaluated: Evaluated, system: str) -> Iterator[_Code | None]:
    match evaluated.target.installable:
        case FlakeInstallable(flake=flake):
            chosen = split_attribute_path(evaluated.chosen or "")
            if chosen[0] in _CONFIGURATIONS:
                function = expressions.packages_of_configuration(chosen[:2])
            else:
                of_system = chosen[1] if chosen[0] in _BY_SYSTEM else system
                function = expressions.packages_of_flake(of_system)
            with flake_outputs(nix, flake) as outputs:
                yield _Code(function, outputs)
        case FileInstallable(file=file, attribute=None):
            include = ("-I", f"nixos-config={file}", "--expr", "import <nixpkgs/nixos> { }")
            # As when the target itself is evaluated.
            environment = {"NIXOS_CONFIG": ""}
            yield _Code(expressions.PACKAGES_OF_FILE, ("--impure", *include), environment)
        case FileInstallable(file=file, arguments=arguments):
            call = "" if arguments is None else f" (import {expressions.path(arguments)})"
            expression = f"import {expressions.path(file)}{call}"
            yield _Code(expressions.PACKAGES_OF_FILE, ("--impure", "--expr", expression))
        case _:
            yield None


def _portions(guesses: Sequence[AttributePath]) -> Iterator[list[AttributePath]]:
    """The guesses in portions that fit into an argument; hardly ever more than one."""
    portion: list[AttributePath] = []
    length = 0
    for each in guesses:
        cost = len(expressions.names(each).encode()) + 1
        if portion and length + cost > _LONGEST_ARGUMENT:
            yield portion
            portion, length = [], 0
        portion.append(each)
        length += cost
    if portion:
        yield portion
