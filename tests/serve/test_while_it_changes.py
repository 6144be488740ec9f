"""A server whose directory is synced and pruned all the while: its clients see whole closures.

``PREFETCH_SOAK_SECONDS`` says for how long; two minutes are a good test, the default a short one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from rig.nixes import PYTHON_PATH
from rig.serving import Served, serve_directory

from mirror.formats.narinfo import parse_narinfo
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECONDS: Final = float(os.environ.get("PREFETCH_SOAK_SECONDS", "5"))
PROJECT: Final = Path(__file__).parents[2]
LEASE_SECONDS: Final = 3
"""A client here needs less for a whole closure, unless the machine is busy: then it was promised no
more. Grace is longer than that again."""
GRACE: Final = "9s"
TURNS: Final = 3
"""How often each has to have its turn for the test to say something."""

SYNC = """
import asyncio, contextlib, dataclasses, itertools, pathlib, random, sys
from rig.made_paths import generation, put, text
from mirror.destinations import CacheDirectory
from mirror.errors import LockedError

async def main():
    for number in itertools.count(1):
        # Some of it is as in the generation before, most is new.
        links = [text(f"base-{number // 3}", content=b"base" * 5000)]
        for link in range(6):
            below = random.sample(links, min(2, len(links)))
            links.append(text(f"link-{number // 2}-{link}", *below))
        top = text(f"system-{number}", *links)
        with contextlib.suppress(LockedError):  # a turn of pruning
            async with CacheDirectory.open(pathlib.Path(sys.argv[1])) as cache:
                for made in (*links, top):
                    if made.path not in await cache.held([made.path]):
                        await put(cache, made)
                kept = generation([*links, top], number=number)
                await cache.keep(dataclasses.replace(kept, root=top.path))
            print(number, flush=True)
        await asyncio.sleep(0.3)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{PYTHON_PATH}:{PROJECT}/tests"},
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


@dataclass
class Done:
    """How often something has been done so far."""

    times: int = 0


async def prune(cache: Path, turns: Done) -> None:
    """Prune again and again; count when it got its turn."""
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            words = ["-m", "mirror", "prune", "--to", str(cache), "--keep", "1", "--grace", GRACE]
            async with process(*words) as running:
                _, said = await running.communicate()
            # 3: it is the other's turn.
            assert running.returncode in {0, 3}, said.decode()
            turns.times += running.returncode == 0


async def pull(served: Served, chance: random.Random, pulled: Done) -> None:
    """Pull closures until it is cancelled, and see that nothing is missing, short or wrong."""
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            status = json.loads((await served.ask("/status.json")).body)
            roots = [each["root"] for host in status["hosts"] for each in host["generations"]]
            # A client's knowledge of what there is may be a little old.
            await asyncio.sleep(chance.random())
            unread, read = [StorePath(chance.choice(roots))], set[StorePath]()
            begun = time.monotonic()
            while unread:
                path = unread.pop()
                read.add(path)
                reply = await served.ask(f"/{path.hash_part}.narinfo")
                if reply.status == 404 and len(read) == 1:
                    break  # gone before it began: no client was led anywhere
                if reply.status == 404 and time.monotonic() - begun > LEASE_SECONDS:
                    break
                assert reply.status == 200, f"{path} is missing"
                entry = parse_narinfo(reply.body)
                nar = await served.ask(f"/{entry.url}")
                if nar.status == 404 and time.monotonic() - begun > LEASE_SECONDS:
                    break
                assert nar.status == 200, f"{entry.url} is missing"
                assert entry.file_hash is not None
                assert hashlib.sha256(nar.body).digest() == entry.file_hash.digest
                unread += [each for each in entry.info.references if each not in read | {*unread}]
            else:
                pulled.times += 1


@pytest.mark.timeout(SECONDS + 600)
async def test_clients_see_whole_closures_at_any_time(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    async with process("-c", SYNC, str(cache)) as sync:
        assert sync.stdout is not None
        assert await sync.stdout.readline() == b"1\n"
        async with serve_directory(cache, lease_seconds=LEASE_SECONDS) as served:
            turns, pulled = Done(), [Done() for _ in range(4)]
            tasks = [
                asyncio.create_task(prune(cache, turns)),
                *(
                    asyncio.create_task(pull(served, random.Random(n), each))
                    for n, each in enumerate(pulled)
                ),
            ]
            begun = time.monotonic()
            # A busy machine takes longer until each has had some turns.
            while time.monotonic() - begun < SECONDS or any(
                each.times < TURNS for each in (turns, *pulled)
            ):
                done, _ = await asyncio.wait(tasks, timeout=1, return_when=asyncio.FIRST_EXCEPTION)
                assert not done, [task.exception() for task in done]
                assert sync.returncode is None, "the sync came to an end"
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks)
        assert sync.returncode is None, "the sync came to an end"
        sync.kill()
        synced = len((await sync.stdout.read()).split())
    closures = sum(each.times for each in pulled)
    figures = f"{closures} closures, {synced} generations, {turns.times} prunings"
    sys.stderr.write(f"{figures}\n")
    assert synced >= TURNS
    assert served.log == []
