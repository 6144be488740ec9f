"""A target that has been evaluated: its root derivation, and those of its edits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.nix.evaluation.recording import Touched

if TYPE_CHECKING:
    from mirror.formats.store_path import StorePath
    from mirror.nix.evaluation.edits import EvaluatedEdit
    from mirror.planning.lists.targets import Target


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
