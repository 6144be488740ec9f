"""The NixOS configurations of a flake, by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mirror.errors import EvaluationError
from mirror.nix.evaluation.explained import explain
from mirror.planning.lists.targets import FlakeInstallable

if TYPE_CHECKING:
    from mirror.nix.command import Nix


async def host_names(nix: Nix, flake: str) -> list[str]:
    """Name the ``nixosConfigurations`` of a flake, in order; nothing of them is evaluated.

    Raises:
        EvaluationError: the flake cannot be read, or has none.
        ToolError: Nix cannot be used.

    """
    command = ["nix", "eval", "--json", "--no-write-lock-file", "--apply", "builtins.attrNames"]
    completed = await nix.run([*command, f"{flake}#nixosConfigurations"])
    if completed.returncode != 0:
        installable = FlakeInstallable(flake=flake, name="nixosConfigurations")
        found = await explain(nix, installable, completed)
        raise EvaluationError(f"{flake}: {found.problem}", hint=found.hint)
    names: list[str] = json.loads(completed.stdout)
    if not names:
        raise EvaluationError(
            f"{flake} has no nixosConfigurations", hint=f"name what you want of it: {flake}#NAME"
        )
    return names
