"""Processes are ended with all that they started; a pipe that is at its end tells that all have."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
import uuid
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest
from rig.marked import VARIABLE, left_of, marked

from mirror.system.processes import started

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


async def end_once_it_is_away(script: str, *, patience: float) -> None:
    """End a shell when something in another session says so; nothing that it started is left."""
    async with started(
        ["/bin/sh", "-c", f"{script} wait"],
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=DEVNULL,
        patience=patience,
    ) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"away\n"
    assert await asyncio.wait_for(process.stdout.read(), 60) == b"", "nobody has it open any more"


async def test_what_got_away_from_a_process_that_is_ended_ends_with_it_too() -> None:
    """It is in another session, its parent has ended, and it looks at no signal."""
    await end_once_it_is_away(RUNAWAY, patience=0.1)


async def test_what_goes_on_starting_others_ends_with_all_of_them() -> None:
    """Each is started after another look at what there is."""
    breeding = "trap '' TERM HUP; echo away; for each in \\$(seq 200); do sleep 600 & done; wait"
    for _ in range(5):
        await end_once_it_is_away(f'setsid sh -c "{breeding}" &', patience=0.02)


RUNAWAY = "setsid sh -c \"trap '' TERM HUP; echo away; sleep 600\" &"

KILLED = f"""
import asyncio, os, signal, sys
from asyncio.subprocess import DEVNULL, PIPE
from mirror.system.processes import started

COMMANDS = [["sleep", "600"], ["sh", "-c", {RUNAWAY + " exit"!r}],
            ["sh", "-c", "trap '' TERM; while :; do :; done"]]

async def main():
    while True:
        for command in COMMANDS:
            async with started(command, stdin=PIPE, stdout=1, stderr=DEVNULL):
                await asyncio.sleep(0)

kinds = [int(each) for each in sys.argv[1:]]
for microseconds in kinds:
    child = os.fork()
    if child == 0:
        # Nobody handles it, and so the kernel ends the process as SIGKILL does, at that instant.
        signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
        asyncio.run(main())
    os.waitpid(child, 0)
"""
INSTANTS = [*range(200, 4000, 200), *range(4000, 60000, 4000), 200_000]
"""Microseconds after which a process is killed; within the first of them it starts others."""


def test_nothing_outlives_a_process_that_is_killed_at_any_instant() -> None:
    mark = uuid.uuid4().hex
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, INSTANTS)],
        stdout=subprocess.PIPE,  # at its end only once nobody has it open any more
        env={**os.environ, "PYTHONPATH": str(PROJECT), VARIABLE: mark},
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0
    assert left_of(mark) == {}


ENDED = """
import asyncio, sys
from asyncio.subprocess import DEVNULL
from mirror.system.processes import dismiss_guard, started

async def main():
    command = ["sh", "-c", "setsid sleep 600 & echo $!"]
    async with started(command, stdin=DEVNULL, stdout=1, stderr=DEVNULL) as process:
        await process.wait()

asyncio.run(main())
dismiss_guard()
"""


def test_what_a_program_left_running_on_purpose_stays_after_an_orderly_end() -> None:
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", ENDED],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROJECT), VARIABLE: mark},
    ) as process:
        assert process.stdout is not None
        left = int(process.stdout.readline())
        assert process.wait(60) == 0
        assert list(marked(mark)) == [left]
        os.kill(left, signal.SIGKILL)


async def test_a_guard_that_is_killed_takes_its_programs_along_and_another_one_comes() -> None:
    async with started(
        ["/bin/sh", "-c", "echo $PPID; exec sleep 600"], stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    ) as process:
        assert process.stdout is not None
        os.kill(int(await process.stdout.readline()), signal.SIGKILL)
        assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL
        assert await process.stdout.read() == b""
    async with started(["true"], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as process:
        assert await process.wait() == 0


async def test_what_no_program_can_be_told_is_an_os_error() -> None:
    for word, code in (("x" * (1 << 21), errno.E2BIG), ("a\0b", errno.EINVAL)):
        with pytest.raises(OSError) as error:  # noqa: PT011 - its number is looked at
            async with started(["echo", word], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL):
                await asyncio.sleep(0)
        assert error.value.errno == code
