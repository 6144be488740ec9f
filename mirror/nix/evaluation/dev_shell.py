"""What ``nix develop`` needs besides a dev shell's own derivation.

It builds a variant of that derivation which writes the environment down instead of building: all
that the shell is made from has to be there, even where a cache has the shell itself. And it starts
the ``bashInteractive`` of the flake's input ``nixpkgs``; where that cannot be had, the ``bash`` on
the search path.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiofiles

from mirror.errors import SourceError
from mirror.formats.store_path import StorePath
from mirror.nix.evaluation import expressions
from mirror.nix.evaluation.recording import Touched, recording
from mirror.system.temporaries import temporary_directory

if TYPE_CHECKING:
    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation

_INPUTS: Final = """{
  inputs.target.url = "path:/to-be-overridden";
  outputs = { self, target }: { all = target.inputs; };
}
"""
_BASH: Final = """inputs: let
  of = place: (inputs.nixpkgs.${place} or { }).${%(system)s} or { };
  bash = (of "packages").bashInteractive or (of "legacyPackages").bashInteractive or null;
in if bash == null then null else "${bash.drvPath}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevShell:
    """``derivations`` are to be had like targets; ``touched`` is what finding them needed."""

    derivations: frozenset[StorePath]
    touched: Touched
    notices: tuple[str, ...]


async def dev_shell(
    nix: Nix, flake: str, attribute: str, *, system: str, store: StoreLocation, known: Touched
) -> DevShell:
    """Find what ``nix develop`` needs for a flake's ``attribute``; nothing is built.

    ``known`` is what evaluating the shell has touched.

    Raises:
        ToolError: Nix cannot be used.

    """
    derivations: set[StorePath] = set()
    notices: list[str] = []
    async with recording(nix, store, buildable=known.built) as environment:
        # Which derivation it is depends on the version of Nix. It writes it to the store and asks
        # for it to be built; there it is cut off.
        command = ["nix", "print-dev-env", "--no-write-lock-file", "--store", environment.store.url]
        completed = await nix.run([*command, f"{flake}#{attribute}"])
    found = environment.touched.built - known.built
    derivations |= found
    if not found:
        notices.append(f"`nix develop` cannot enter it: {completed.last_words}")
    async with recording(nix, store) as shell:
        bash = await _bash(nix, flake, system, shell.store)
    if bash is None:
        notices.append(
            "its flake has no input nixpkgs with a bashInteractive:"
            " offline, `nix develop` starts the bash on the search path"
        )
    else:
        derivations.add(bash)
    touched = Touched(
        paths=environment.touched.paths | shell.touched.paths,
        built=shell.touched.built | (environment.touched.built & known.built),
    )
    return DevShell(derivations=frozenset(derivations), touched=touched, notices=tuple(notices))


async def enter(nix: Nix, flake: str, attribute: str, *, store: StoreLocation) -> None:
    """Enter a flake's dev shell as a user does, and leave it at once.

    Raises:
        SourceError: Nix cannot enter it; ends with its last words.
        ToolError: Nix cannot be used.

    """
    command = ["nix", "develop", "--no-write-lock-file", "--store", store.url]
    command += [f"{flake}#{attribute}", "--command", "/bin/sh", "-c", ":"]
    completed = await nix.run(command)
    if completed.returncode != 0:
        raise SourceError(f"`nix develop` cannot enter {attribute}:\n{completed.error_text}")


async def _bash(nix: Nix, flake: str, system: str, store: StoreLocation) -> StorePath | None:
    with temporary_directory() as directory:
        async with aiofiles.open(directory / "flake.nix", "w") as file:
            await file.write(_INPUTS)
        command = ["nix", "eval", "--json", "--no-write-lock-file", "--store", store.url]
        command += ["--apply", _BASH % {"system": expressions.string(system)}]
        command += ["--override-input", "target", flake, f"path:{directory}#all"]
        completed = await nix.run(command)
    answer = json.loads(completed.stdout) if completed.returncode == 0 else None
    return None if answer is None else StorePath.parse(answer)
