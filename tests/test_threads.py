"""Cancelling what waits for a thread."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mirror.system.threads import in_thread


async def test_a_cancelled_call_ends_before_its_caller_does() -> None:
    begun, go_on = threading.Event(), threading.Event()
    ended: list[str] = []

    def work() -> None:
        begun.set()
        go_on.wait()
        ended.append("thread")
        raise ValueError("nobody hears this")

    async def caller() -> None:
        try:
            await in_thread(work)
        finally:
            ended.append("caller")

    task = asyncio.create_task(caller())
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not ended
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["thread", "caller"]


async def test_it_gives_and_raises_what_the_function_does() -> None:
    assert await in_thread(int, "11", base=2) == 3
    with pytest.raises(ValueError, match="invalid literal"):
        await in_thread(int, "x")
