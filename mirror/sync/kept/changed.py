"""What a generation changed, against the one before it that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.planning.changes import Since, changes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.destinations import Generation


def since_before(generation: Generation, kept: Iterable[Generation]) -> Since | None:
    """How a generation differs from the newest earlier one of its target; None without one.

    One that is not whole only bridges the time until the next run, which drops it: no comparison.
    Private paths are left out, since a server tells clients of it.
    """
    earlier = [
        each
        for each in kept
        if each.target == generation.target and each.number < generation.number and not each.missing
    ]
    if not earlier:
        return None
    before = max(earlier, key=lambda each: each.number)
    if before.private is None or generation.private is None:
        return None  # which are private is not known
    private = {*before.private, *generation.private}
    found = changes(set(before.paths) - private, set(generation.paths) - private)
    return Since.of(before.number, found)
