"""Real Nix as a client of the server: over a network of its own, and while the server fails it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from rig.lan import MIRROR, NOBODY, Lan
from rig.nixes import PYTHON_PATH
from rig.running import run
from rig.servers import Reply, Request, Server

from mirror.serve.status.client_setup import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from rig.bench import Bench
    from rig.running import ScratchStore

    from mirror.nix.command import Nix

PORT = 8080


@contextlib.contextmanager
def serving(cache: Path, lan: Lan) -> Iterator[str]:
    """The command itself, on one of two hosts; its URL."""
    process = subprocess.Popen(
        [
            *lan.on_mirror,
            sys.executable,
            "-m",
            "mirror",
            "serve",
            str(cache),
            "--listen",
            f"{MIRROR}:{PORT}",
        ],
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert process.stderr.readline() == f"serving {cache} at http://{MIRROR}:{PORT}/\n"
        yield f"http://{MIRROR}:{PORT}"
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=200)[1]
    assert process.returncode == 0, said
    assert said == "stopping: finishing the requests in progress\n"


async def test_a_client_with_the_served_cache_alone_builds_the_system(
    bench: Bench, any_nix: Nix, lan: Lan
) -> None:
    cache = bench.directory / "cache"
    synced = await bench.sync(any_nix, "DEMO#laptop", cache)
    client = bench.empty_store("client")
    with serving(cache, lan) as url:
        run(
            any_nix,
            *("nix-store", "--realise", synced.plan.targets[0].root),
            store=client,
            config=(
                f"substituters = {url}",
                f"trusted-public-keys = {bench.upstream.public_key}",
            ),
            before=lan.on_client,
        )


async def test_a_client_gets_its_sources_by_their_hash(
    bench: Bench, any_nix: Nix, lan: Lan
) -> None:
    """With substitution off and the origins gone, Nix's own fetcher asks the hashed mirror."""
    cache = bench.directory / "cache"
    synced = await bench.sync(any_nix, "DEMO#laptop level=sources", cache)
    sources = synced.kept[0].sources
    assert len(sources) > 2
    fetches = "".join(
        f'(import <nix/fetchurl.nix> {{ name = "{path.name}"; url = "http://{NOBODY}/gone"; '
        f'hash = "{digest.sri}"; }})'
        for path, digest in sources.items()
    )
    file = bench.directory / "sources.nix"
    file.write_text(f"[ {fetches} ]")
    client = bench.empty_store("client")
    derivations = run(any_nix, "nix-instantiate", str(file), store=client).stdout.split()
    with serving(cache, lan) as url:
        realised = run(
            any_nix,
            *("nix-store", "--realise", *derivations),
            store=client,
            config=("substitute = false", f"hashed-mirrors = {url}/"),
            before=lan.on_client,
        )
    assert set(realised.stdout.split()) == set(sources)


def of_files(fault: Callable[[Reply], Reply]) -> Callable[[Request, Reply], Reply]:
    """The fault in NARs only; all else is answered as it should be."""
    return lambda request, reply: fault(reply) if "/nar/" in request.path else reply


FROM_THE_BEGINNING: dict[str, Callable[[Request, Reply], Reply] | None] = {
    "it is stopped": None,
    "every answer is 500": lambda _, reply: replace(reply, status=500, body=b""),
    "nothing is ever answered": lambda _, reply: replace(reply, hang_first=True),
}
IN_THE_MIDDLE = {
    "files are cut short": of_files(lambda reply: replace(reply, cut_after=len(reply.body) // 2)),
    "files are 500": of_files(lambda reply: replace(reply, status=500, body=b"")),
    "files come to a halt": of_files(lambda reply: replace(reply, hang=True)),
}
TRIES_NIX_PATIENCE = ("nothing is ever answered", "files come to a halt")
CRASHES = (2, 10, 0)
"""A Nix before that crashes when a cache fails that it believes in (NixOS/nix#6445)."""


@dataclass(frozen=True)
class Worse:
    """A client that has the lines of the status page, another cache, and something to build."""

    nix: Nix
    store: ScratchStore
    root: str
    other_cache: str
    public_key: str

    async def build(self, mirror: str) -> str | None:
        """Build, with what the page says of the mirror's URL; what Nix says if it cannot."""
        printed = Client(url=mirror, public_keys=(self.public_key,), priority=30).nix_conf
        completed = await asyncio.to_thread(
            run,
            self.nix,
            *("nix-store", "--realise", self.root),
            store=self.store,
            config=(
                f"substituters = {self.other_cache}",
                *printed.splitlines(),
                # Printed is more, so that a slow disk is no failure; it costs a test its time.
                "stalled-download-timeout = 2",
            ),
            check=False,
        )
        return completed.stderr if completed.returncode else None


@pytest.fixture
async def worse(bench: Bench, any_nix: Nix) -> Worse:
    synced = await bench.sync(any_nix, "DEMO#laptop", bench.directory / "cache")
    root = synced.plan.targets[0].root
    client = bench.empty_store("client")
    copy = ["nix", "copy", "--derivation", "--no-check-sigs", "--from", bench.evaluation.url]
    await asyncio.to_thread(run, any_nix, *copy, "--to", client.url, root)
    return Worse(any_nix, client, root, bench.upstream.cache_url, bench.upstream.public_key)


@contextlib.asynccontextmanager
async def failing(cache: Path, fault: str, believer: Worse | None = None) -> AsyncIterator[str]:
    """A mirror that fails; its URL. A ``believer`` has seen before what kind of cache it is."""
    async with contextlib.AsyncExitStack() as stack:
        mirror = await stack.enter_async_context(Server(cache))
        url = mirror.url
        if believer is not None:
            # Nix remembers that for a week, and then finds out only in the middle of its work.
            await asyncio.to_thread(run, believer.nix, "nix", "store", "ping", "--store", url)
        fails = {**FROM_THE_BEGINNING, **IN_THE_MIDDLE}[fault]
        if fails is None:
            await stack.aclose()
        else:
            mirror.fault = fails
        yield url
        if fails is not None:
            assert mirror.requests


@pytest.mark.parametrize("fault", FROM_THE_BEGINNING)
async def test_a_client_builds_from_its_other_cache(bench: Bench, worse: Worse, fault: str) -> None:
    async with failing(bench.directory / "cache", fault) as url:
        assert await worse.build(url) is None


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=[pytest.mark.thorough] * (fault in TRIES_NIX_PATIENCE))
        for fault in (*FROM_THE_BEGINNING, *IN_THE_MIDDLE)
    ],
)
async def test_a_client_goes_on_with_its_other_cache(
    bench: Bench, worse: Worse, fault: str
) -> None:
    async with failing(bench.directory / "cache", fault, believer=worse) as url:
        failure = await worse.build(url)
    if worse.nix.version >= CRASHES:
        assert failure is None
    elif failure is not None:
        # What it had begun it can finish, without the lines of the page.
        assert await worse.build(worse.other_cache) is None
