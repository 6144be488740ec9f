"""Running two tasks concurrently; if one fails, the other is cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from mirror.errors import PrefetchError, first_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

_First = TypeVar("_First")
_Second = TypeVar("_Second")


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
