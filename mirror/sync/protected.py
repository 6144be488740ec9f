"""A plan whose paths stay at the destination while the rest is obtained, and which fits there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.errors import DestinationError, FullError
from mirror.sync.planner import make_plan
from mirror.sync.space import expect_room

if TYPE_CHECKING:
    from mirror.destinations import Destination
    from mirror.planning.plan import Plan
    from mirror.sync.prepare import EvaluatedTargets
    from mirror.sync.report import Observer
    from mirror.sync.workshop import Workshop

_ROUNDS: Final = 3
"""How often what is present may be collected while it is being protected."""


async def fitting_plan(
    evaluated: EvaluatedTargets, workshop: Workshop, destination: Destination, observer: Observer
) -> Plan:
    """A protected plan of which all that is lacking may fit.

    Raises:
        FullError: it does not.

    """
    plan = await protected_plan(evaluated, workshop, destination, observer)
    try:
        await expect_room(plan, destination)
    except FullError:
        # Caches may have said so of their files in an earlier run, and not any more.
        if not workshop.caches.forget_recalled([each.path for each in plan.substitute]):
            raise
        plan = await protected_plan(evaluated, workshop, destination, observer)
        await expect_room(plan, destination)
    return plan


async def protected_plan(
    evaluated: EvaluatedTargets, workshop: Workshop, destination: Destination, observer: Observer
) -> Plan:
    """A plan whose paths cannot be collected any more.

    What is present could be collected between the look at it and its protection: after protecting,
    it is looked at again, and if something went, the plan is made anew.
    """
    for _ in range(_ROUNDS):
        plan = await make_plan(evaluated, workshop, destination, observer)
        planned = [path for target in plan.targets for path in target.paths]
        if not await destination.protect(planned):
            return plan
        if len(await destination.held(plan.present)) == len(plan.present):
            return plan
    raise DestinationError(
        f"{destination.name} loses paths faster than they can be protected",
        hint="wait until the garbage collection there is over, and run it again",
    )
