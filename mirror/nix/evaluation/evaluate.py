"""Evaluating targets and their edits to root derivations, with one process of Nix for each.

Flakes are evaluated purely, as ``nix build`` and ``nixos-rebuild --flake`` do, without writing
their lock file; files are evaluated as ``nix-build`` does. The derivations are written to the
store that is asked for; protecting them from the garbage collector is left to the caller.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.errors import EvaluationError
from mirror.nix.evaluation.edits import EvaluatedEdit
from mirror.nix.evaluation.evaluated import Evaluated
from mirror.nix.evaluation.evaluators import Evaluators
from mirror.nix.evaluation.target_evaluation import TargetEvaluation, flake_outputs
from mirror.nix.origin_of_path import derivation_of
from mirror.planning.lists.targets import FileInstallable, FlakeInstallable, PathInstallable
from mirror.system.together import all_together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.nix.command import Nix
    from mirror.nix.evaluation.remembering import Remembering
    from mirror.nix.stores import StoreLocation
    from mirror.planning.lists.targets import Target

__all__ = ["Evaluated", "EvaluatedEdit", "evaluate", "evaluate_all", "flake_outputs"]


async def evaluate_all(
    nix: Nix,
    targets: Sequence[Target],
    *,
    store: StoreLocation,
    system: str,
    evaluators: Evaluators,
    remembering: Remembering | None = None,
) -> list[Evaluated | EvaluationError]:
    """Evaluate targets and their edits with ``evaluators``; one that fails stops no other.

    Gives a result or an error for each target, in their order. ``store`` has been opened
    (:func:`~mirror.nix.stores.open_store`). What ``remembering`` knows is not evaluated.

    Raises:
        ToolError: Nix itself, or the store, cannot be used.

    """

    async def one(target: Target) -> Evaluated | EvaluationError:
        try:
            return await evaluate(
                nix,
                target,
                store=store,
                system=system,
                evaluators=evaluators,
                remembering=remembering,
            )
        except EvaluationError as error:
            return error
        except OSError as error:
            place = error.filename or target.installable_text
            return EvaluationError(f"{target.name}: {place}: {error.strerror or error}")

    return await all_together([one(target) for target in targets])


async def evaluate(
    nix: Nix,
    target: Target,
    *,
    store: StoreLocation,
    system: str,
    evaluators: Evaluators | None = None,
    remembering: Remembering | None = None,
) -> Evaluated:
    """Evaluate one target into ``store``, for ``system`` where a flake has several.

    Its edits follow, each for itself: one that cannot be evaluated is a problem of its own.
    ``evaluators`` bounds how many of them run at once, together with others; None is one.

    Raises:
        EvaluationError: Nix cannot evaluate it (its message ends with Nix's own words), or it
            is not a derivation.
        ToolError: Nix itself cannot be used.

    """
    evaluators = evaluators or Evaluators()
    evaluation = TargetEvaluation(nix, target, store, evaluators, remembering)
    match target.installable:
        case PathInstallable(path=path):
            async with evaluators.turn(target.name):
                root = await derivation_of(nix, target.name, path, store)
            return Evaluated(target=target, root=root)
        case FlakeInstallable(flake=flake, name=name):
            evaluated = await evaluation.flake(flake, name, system)
        case FileInstallable(file=file, attribute=None):
            evaluated = await evaluation.configuration(file)
        case FileInstallable(file=file, attribute=str(attribute), arguments=arguments):
            evaluated = await evaluation.file(file, attribute, arguments)
    return replace(evaluated, touched=evaluation.touched)
