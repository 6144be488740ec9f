"""Fixtures for all tests: both versions of Nix, and an upstream that is built once a session."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from rig.compared.sitecustomize import install
from rig.forked import Forking
from rig.generated import Generated, generate
from rig.nixes import find_stable, newest
from rig.real_nixos import checkout
from rig.running import ScratchStore

from mirror.demo.upstream import Upstream, serve_upstream
from mirror.nix.stores import remove_store

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from mirror.nix.command import Nix


def pytest_report_header() -> str:
    """Say whether there is a nixpkgs to test with, since without one its tests are not there."""
    found = checkout()
    return f"tests/real: with {found}" if found else "tests/real: not run, no PREFETCH_NIXPKGS"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where nothing may be skipped (continuous integration), a skip is a failure."""
    report = yield
    if report.skipped and os.environ.get("PREFETCH_NO_SKIP") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {report.longrepr}"
    return report


# How long an example takes is the machine's business, and it may be busy.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# The program is started hundreds of times: it is not to be compiled each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Whose machine it is may have settings of their own, which are not to be tested.
os.environ["PREFETCH_CONFIG"] = ""

# Who tests in the background of a script has interruptions ignored; so would be those of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

install()  # whatever document a test makes in this process is compared with its schema


@pytest.fixture(scope="session")
def nix_stable(tmp_path_factory: pytest.TempPathFactory) -> Nix:
    """The installed Nix (2.8 on Debian 12)."""
    return find_stable(tmp_path_factory.mktemp("nix-stable"))


@pytest.fixture(scope="session")
def nix_newest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nix]:
    """The newest Nix, in its own root."""
    with newest(tmp_path_factory.mktemp("nix-newest")) as nix:
        yield nix


@pytest.fixture(
    scope="session",
    params=["nix_stable", pytest.param("nix_newest", marks=pytest.mark.thorough)],
)
def any_nix(request: pytest.FixtureRequest) -> Nix:
    """Each version in turn; the quick suite has the newest one where Nix itself is spoken to."""
    nix: Nix = request.getfixturevalue(request.param)
    return nix


@pytest.fixture(scope="session")
def forking() -> Iterator[Forking]:
    """The program, imported once a session."""
    with Forking.start() as started:
        yield started


@pytest.fixture
def scratch_store(tmp_path: Path) -> Iterator[ScratchStore]:
    """An empty store."""
    store = ScratchStore(tmp_path / "scratch-store")
    yield store
    store.remove()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[ScratchStore]:
    """Another empty store."""
    store = ScratchStore(tmp_path / "elsewhere")
    yield store
    store.remove()


@pytest.fixture(scope="session")
def upstream(
    nix_stable: Nix, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[Upstream]:
    """The demo's upstream, served on loopback; it is built once, also for several workers."""
    mine = tmp_path_factory.mktemp("upstream")
    shared = mine if worker_id == "master" else tmp_path_factory.getbasetemp().parent / "upstream"
    shared.mkdir(exist_ok=True)
    with asyncio.Runner() as runner:
        serving = serve_upstream(nix_stable, shared, distribution=mine / "distribution")
        with (shared / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            running = runner.run(serving.__aenter__())
        try:
            yield running
        finally:
            runner.run(serving.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def generated(
    nix_stable: Nix, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Generated:
    """A system of more than two thousand derivations, of which the upstream's cache has a part."""
    return generate(nix_stable, upstream, tmp_path_factory.mktemp("generated") / "store")


@pytest.fixture(scope="session", autouse=True)
def _stores_are_removed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a store holds is read-only, which pytest cannot remove by itself."""
    yield
    for store in tmp_path_factory.getbasetemp().glob("*/**/nix/store"):
        remove_store(store)
