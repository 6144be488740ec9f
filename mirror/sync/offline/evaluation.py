"""Evaluating targets where there is no network: what ``check`` and ``why`` start from.

That no network is touched is enforced: Nix evaluates where no interface is up, and is told of no
cache.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.nix.derivations import read_closure
from mirror.nix.evaluation.evaluate import Evaluated, evaluate_all
from mirror.nix.settings import read_settings
from mirror.nix.stores import locate
from mirror.planning.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.errors import PrefetchError
    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation
    from mirror.planning.lists.targets import Target
    from mirror.sync.report import Observer

_EVALUATIONS: Final = 2
_NO_CACHES: Final = "substituters =\nextra-substituters ="


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The targets as they were evaluated offline, or the errors, and their common graph.

    ``nix`` is the one without a network that evaluated them into ``store``; it trusts the
    ``trusted_keys``.
    """

    results: tuple[tuple[Target, Evaluated | PrefetchError], ...]
    graph: Graph
    nix: Nix
    store: StoreLocation
    system: str
    trusted_keys: tuple[str, ...] = ()


async def evaluate_offline(
    targets: Sequence[Target], nix: Nix, observer: Observer, *, store: str | None
) -> Evaluation:
    """Evaluate targets where there is no network, and read their build graph.

    Raises:
        ToolError: Nix cannot be used, or its network cannot be taken away.

    """
    observer.step(f"evaluating {', '.join(target.name for target in targets)} without a network")
    configuration = f"{nix.environment.get('NIX_CONFIG', '')}\n{_NO_CACHES}"
    isolated = replace(
        await nix.isolated(), environment={**nix.environment, "NIX_CONFIG": configuration}
    )
    location = await locate(isolated, store)
    settings = await read_settings(isolated)
    results = await evaluate_all(
        isolated, targets, store=location, system=settings.system, limit=_EVALUATIONS
    )
    roots = [root for each in results if isinstance(each, Evaluated) for root in each.roots]
    graph = Graph(await asyncio.to_thread(read_closure, location, roots))
    return Evaluation(
        results=tuple(zip(targets, results, strict=True)),
        graph=graph,
        nix=isolated,
        store=location,
        system=settings.system,
        trusted_keys=settings.trusted_public_keys,
    )
