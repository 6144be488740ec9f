"""The targets, one a module, each as its ``TARGET``."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuzz.target import Target


def all_targets() -> dict[str, Target]:
    """Every target, by name."""
    modules = (
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    )
    targets: list[Target] = [module.TARGET for module in modules]
    return {target.name: target for target in sorted(targets, key=lambda each: each.name)}
