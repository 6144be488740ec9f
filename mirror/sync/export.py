"""``export``: what targets are rebuilt from, planned as for a destination that has nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.destinations import CacheDirectory
from mirror.nix.evaluation.package_names import attribute_names
from mirror.planning.hermetic import Export
from mirror.planning.names import candidates
from mirror.sync.planner import make_plan
from mirror.sync.prepare import evaluate_targets
from mirror.system.temporaries import temporary_directory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.errors import PrefetchError
    from mirror.formats.store_path import StorePath
    from mirror.planning.lists.targets import Target
    from mirror.sync.report import Observer
    from mirror.sync.workshop import Workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What ``export`` found.

    ``names`` are Nix expressions that are roots, for those that have such: ``pkgs.gettext``. All
    are of one package set, that of the first target. ``failures`` are the targets that could not
    be evaluated.
    """

    export: Export
    names: Mapping[StorePath, str]
    failures: tuple[tuple[Target, PrefetchError], ...]


async def export(
    targets: Sequence[Target], workshop: Workshop, observer: Observer, *, named: bool
) -> Exported:
    """Plan the targets from nothing; if ``named``, find out what the roots are called.

    Raises:
        ToolError: Nix cannot be used.

    """
    evaluated = await evaluate_targets(targets, workshop, observer)
    with temporary_directory() as directory:
        # It is not made: a cache that is only looked at, and has nothing.
        nothing = CacheDirectory.open(directory / "nothing", exclusive=False)
        async with nothing as destination:
            plan = await make_plan(evaluated, workshop, destination, observer)
    exported = Export(plan, evaluated.graph, evaluated.references)
    names: Mapping[StorePath, str] = {}
    if named and evaluated.evaluated:
        observer.step("looking for names")
        names = await attribute_names(
            workshop.nix,
            evaluated.evaluated[0],
            candidates(evaluated.graph, exported.roots),
            store=workshop.store,
            system=workshop.settings.system,
        )
    return Exported(export=exported, names=names, failures=evaluated.failures)
