"""Obtaining the missing paths of a plan, first from the cache that offered them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.errors import Attempt
from mirror.sources import Wanted
from mirror.sync.asking import Item
from mirror.sync.engine import obtain
from mirror.sync.space import telling_what_is_left

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.destinations import Destination
    from mirror.formats.store_path import StorePath
    from mirror.planning.plan import Plan
    from mirror.sync.prepare import EvaluatedTargets
    from mirror.sync.report import Observer, Outcome
    from mirror.sync.sync_options import SyncOptions
    from mirror.sync.workshop import Workshop


async def obtain_missing(
    plan: Plan,
    evaluated: EvaluatedTargets,
    workshop: Workshop,
    destination: Destination,
    observer: Observer,
    *,
    options: SyncOptions,
) -> dict[StorePath, Outcome]:
    """Obtain what the plan lacks; how it went with each path.

    Raises:
        DestinationError: the destination cannot be used.

    """
    async with telling_what_is_left(plan, destination, observer) as watching:
        outcomes = await obtain(
            _items(plan, evaluated, workshop),
            destination,
            watching,
            present=plan.present,
            incomplete=plan.incomplete,
            jobs=options.jobs,
            keep_going=options.keep_going,
        )
    return _with_damage(outcomes, plan, destination)


def _items(plan: Plan, evaluated: EvaluatedTargets, workshop: Workshop) -> list[Item]:
    items = []
    offers = {each.path: each.offer for each in plan.substitute}
    for path in plan.in_reference_order():
        wanted = Wanted(path=path, fixed_output=evaluated.fixed_outputs.get(path))
        offer = offers.get(path)
        is_local = path in plan.copy
        items.append(
            Item(
                wanted=wanted,
                sources=[workshop.local] if is_local else workshop.sources(wanted, offer),
                offer=offer,
                size=None if offer is None else offer.download_bytes,
                is_local=is_local,
            )
        )
    return items


def _with_damage(
    outcomes: Mapping[StorePath, Outcome], plan: Plan, destination: Destination
) -> dict[StorePath, Outcome]:
    """Say first of what was obtained anew, or could not be, that it is damaged where it was."""
    found = dict(outcomes)
    for path in plan.damaged.keys() & outcomes.keys():
        attempt = Attempt(source=destination.name, error=plan.damaged[path])
        found[path] = replace(found[path], attempts=(attempt, *found[path].attempts))
    return found
