"""Processes are ended with all that they started; a pipe that is at its end tells that all have."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest

from mirror.processes import started

PROJECT = Path(__file__).parents[1]
STUBBORN_CHILD = "(trap '' TERM; echo child; exec sleep 600) & wait"
POLITE = "trap 'echo good-bye; exit 3' TERM; echo ready in $PWD; while :; do sleep 0.01; done"


async def test_what_a_process_started_ends_with_it() -> None:
    async with started(
        ["/bin/sh", "-c", STUBBORN_CHILD],
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=DEVNULL,
        patience=0.1,
    ) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"child\n"
    assert process.returncode == -signal.SIGTERM
    assert await process.stdout.read() == b"", "nobody has the pipe open any more"


async def test_a_process_is_asked_to_end_before_it_is_made_to(tmp_path: Path) -> None:
    async with started(
        ["/bin/sh", "-c", POLITE],
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=DEVNULL,
        directory=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == f"ready in {tmp_path}\n".encode()
    assert process.returncode == 3
    assert await process.stdout.read() == b"good-bye\n"


async def test_one_that_has_ended_keeps_its_exit_code() -> None:
    async with started(
        ["/bin/sh", "-c", 'exit "$CODE"'],
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        environment={"CODE": "7"},
    ) as process:
        await process.communicate()
    assert process.returncode == 7


async def test_a_program_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with started([tmp_path / "nothing"], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL):
            await asyncio.sleep(0)


async def test_whoever_is_cancelled_while_a_process_starts_ends_its_children_too() -> None:
    """At each turn of the loop; the child has had time by then to start another."""
    for turns in range(8):
        read, write = os.pipe()

        async def start(stdout: int) -> None:
            async with started(
                ["/bin/sh", "-c", "sleep 600 & wait"],
                stdin=DEVNULL,
                stdout=stdout,
                stderr=DEVNULL,
            ):
                await asyncio.sleep(600)

        with os.fdopen(read, "rb") as ended, os.fdopen(write, "wb") as pipe:
            starting = asyncio.create_task(start(pipe.fileno()))
            for _ in range(turns):
                await asyncio.sleep(0)
            time.sleep(0.1)  # noqa: ASYNC251 - the loop is to stand still
            starting.cancel()
            await asyncio.wait([starting])
            pipe.close()
            rest = asyncio.to_thread(ended.read)
            assert await asyncio.wait_for(rest, 60) == b"", "nobody has the pipe open any more"


KILLED = """
import asyncio, os, signal, sys
from asyncio.subprocess import DEVNULL
from mirror.processes import started

async def main():
    async with started(["sleep", "600"], stdin=DEVNULL, stdout=1, stderr=DEVNULL):
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_what_was_started_ends_with_a_process_that_is_killed() -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED],
        stdout=subprocess.PIPE,  # at its end only once nobody has it open any more
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
