"""Blocking work in threads, which always ends before its caller goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


async def in_thread(
    function: Callable[_Parameters, _Result],
    *arguments: _Parameters.args,
    **options: _Parameters.kwargs,
) -> _Result:
    """Call ``function`` in a thread; cancelled, wait for its end before being so.

    A thread cannot be stopped. With :func:`asyncio.to_thread` it would still write to a file that
    the cancelled task closes, or into a directory whose lock it gives up.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **options))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        if not call.cancelled():
            await asyncio.wait([call])
            if not call.cancelled():
                call.exception()  # What went wrong no longer matters.
        raise
