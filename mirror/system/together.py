"""Running tasks concurrently; if one fails, the others are cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from mirror.errors import PrefetchError, first_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

_First = TypeVar("_First")
_Second = TypeVar("_Second")
_Result = TypeVar("_Result")


async def together(
    first: Coroutine[Any, Any, _First], second: Coroutine[Any, Any, _Second]
) -> tuple[_First, _Second]:
    """Run both; if one fails the other is cancelled, and waited for, before its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            one, other = group.create_task(first), group.create_task(second)
    except* PrefetchError as errors:
        raise first_of(errors) from None
    return one.result(), other.result()


async def all_together(coroutines: Sequence[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """Run them all; their results are in the same order. What one raises is raised for all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except* PrefetchError as errors:
        raise first_of(errors) from None
    return [task.result() for task in tasks]
