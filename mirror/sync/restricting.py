"""Restrict private paths before their first byte arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.destinations.records.privacy import Holding, holdings, private_paths

if TYPE_CHECKING:
    from mirror.destinations import Destination
    from mirror.errors import DestinationError
    from mirror.planning.plan import Plan
    from mirror.sync.report import Observer


async def restrict(plan: Plan, destination: Destination, observer: Observer) -> None:
    """Make the plan's private paths readable by their owner only, also those already there.

    Raises:
        DestinationError: the destination cannot be written.

    """
    unreadable: list[DestinationError] = []  # keeping a generation says so
    earlier = holdings(await destination.generations(unreadable.append))
    planned = [Holding(each.target.name, each.paths, each.private) for each in plan.targets]
    private = private_paths([*earlier, *planned])
    given = {path for each in planned for path in each.paths} - private
    if not await destination.restrict(private, given):
        observer.notice(
            f"the file system of {destination.name} has no permissions: whoever can read it "
            f"can also read what only evaluation needs ({len(private)} paths)"
        )
