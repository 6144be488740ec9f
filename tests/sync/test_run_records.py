"""Each sync records what it came to, target by target, and keeps what is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.made_paths import chain
from rig.running import collect_garbage
from rig.servers import Reply, Request, Server

from mirror.destinations import CacheDirectory
from mirror.errors import TransientError
from mirror.sync.meter import Meter
from mirror.sync.records import failures_recorded

if TYPE_CHECKING:
    from pathlib import Path

    from rig.bench import Bench

    from mirror.destinations import RunRecord
    from mirror.nix.command import Nix


class Dying(Server):
    """A cache whose network goes away after so many NARs."""

    def __init__(self, files: Path, *, after: int) -> None:
        super().__init__(files)
        self._left = after

    def _reply(self, request: Request) -> Reply:
        reply = super()._reply(request)
        if request.path.startswith("/nar/"):
            self._left -= 1
        if self._left < 0:
            return Reply(raw=b"")
        return reply


async def records(cache: Path) -> dict[str, RunRecord]:
    async with CacheDirectory.open(cache, exclusive=False) as destination:
        return {each.target: each for each in await destination.run_records()}


async def test_each_target_is_recorded_whatever_became_of_it(bench: Bench, nix_stable: Nix) -> None:
    cache = bench.directory / "cache"
    (bench.directory / "gone.nix").write_text(
        'derivation { name = "gone"; system = "x86_64-linux"; builder = "/bin/sh";'
        ' outputHashAlgo = "sha256"; outputHashMode = "flat"; mirrorsFile = "/none";'
        f' outputHash = "{"0" * 63}1"; urls = [ "{bench.upstream.origin_url}/no-such" ]; }}'
    )
    (bench.directory / "sources.nix").write_text("{ gone = import ./gone.nix; }")
    lines = ("ledger = DEMO#ledger", "broken = DEMO#no-such", "gone = ./sources.nix#gone")
    synced = await bench.sync(nix_stable, "\n".join(lines), cache, builder=False)
    found = await records(cache)
    assert found.keys() == {"ledger", "broken", "gone"}
    assert found["ledger"].is_complete
    assert found["ledger"].number == 1
    assert found["ledger"].problems == ()
    assert not found["broken"].is_complete
    assert found["broken"].number is None
    assert "no-such" in found["broken"].problems[0]
    assert not found["gone"].is_complete
    assert found["gone"].number == 1
    (problem,) = found["gone"].problems
    assert problem.startswith(f"{synced.plan.fetch[0].path}: ")
    assert "404" in problem
    received = bench.recorder.received_bytes
    assert {each.received_bytes for each in found.values()} == {received}, "the whole run's"
    assert received > 0
    again = await bench.sync(nix_stable, lines[0], cache)
    assert not again.kept
    later = await records(cache)
    assert later["ledger"].received_bytes == bench.recorder.received_bytes - received
    assert later["ledger"].finished >= found["ledger"].finished
    assert later["ledger"].number == 1
    assert later["broken"] == found["broken"], "it was on no list of this run"


async def test_that_no_cache_can_be_asked_is_recorded_for_every_target(
    bench: Bench, nix_stable: Nix
) -> None:
    cache = bench.directory / "cache"
    await bench.sync(nix_stable, "ledger = DEMO#ledger", cache)
    targets = bench.targets("ledger = DEMO#ledger\nlaptop = DEMO#laptop")
    async with bench.destination(nix_stable, cache) as destination:
        with pytest.raises(TransientError):
            async with (
                failures_recorded(targets, destination, Meter(bench.recorder)),
                bench.workshop(nix_stable, substituters=("http://127.0.0.1:9",)),
            ):
                pass
    found = await records(cache)
    assert [found[name].is_complete for name in ("ledger", "laptop")] == [False, False]
    assert [found[name].number for name in ("ledger", "laptop")] == [1, None]
    assert "none of the caches can be reached" in found["laptop"].problems[0]
    assert found["laptop"].received_bytes == 0


async def test_a_run_takes_the_time_from_its_beginning_to_its_record(
    bench: Bench, nix_stable: Nix
) -> None:
    times = iter((1000.0, 1089.6))
    meter = Meter(bench.recorder, clock=lambda: next(times))
    async with bench.destination(nix_stable, bench.directory / "cache") as destination:
        meter.received(chain(1)[0].path, 7)
        with pytest.raises(TransientError):
            async with failures_recorded(bench.targets("it = DEMO#ledger"), destination, meter):
                raise TransientError("away")
        (record,) = await destination.run_records()
    assert (record.duration_seconds, record.received_bytes) == (90, 7)
    assert bench.recorder.received_bytes == 7


async def test_what_is_complete_stays_when_the_network_goes_until_a_run_completes_the_next(
    bench: Bench, nix_stable: Nix
) -> None:
    """The upstream dies in the middle of a run, twice, before one goes through."""
    store = bench.empty_store("client")
    first = await bench.sync(nix_stable, "it = DEMO#ledger", store)
    (complete,) = first.kept
    for attempt in (2, 3):
        async with Dying(bench.upstream.cache_directory, after=3) as dying:
            partial = await bench.sync(
                nix_stable, "it = DEMO#laptop", store, substituters=(dying.url,), builder=False
            )
        assert not partial.is_complete
        assert partial.kept[0].missing
        left = collect_garbage(nix_stable, store)
        assert left >= {*complete.paths}
        async with bench.destination(nix_stable, store) as destination:
            numbers = [each.number for each in await destination.generations()]
            (record,) = await destination.run_records()
        assert numbers == [1, attempt], "only one that is incomplete makes room"
        assert not record.is_complete
        assert record.problems
    stored = {each.path for each in partial.outcomes if each.result == "stored"}
    last = await bench.sync(nix_stable, "it = DEMO#laptop", store)
    assert last.is_complete
    fetched = {each.path for each in last.outcomes if each.result == "stored"}
    assert not fetched & stored, "what had come was kept"
    left = collect_garbage(nix_stable, store)
    assert left >= {*complete.paths, *last.kept[0].paths}
    async with bench.destination(nix_stable, store) as destination:
        assert [each.number for each in await destination.generations()] == [1, 4]
        (record,) = await destination.run_records()
    assert record.is_complete
    assert record.number == 4
