"""A third kind of destination takes a line in the registry: what the pipeline makes of one."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from rig.memory_destination import Entry, Memories

from mirror.cli.commands import roots
from mirror.cli.commands import serve as serving
from mirror.cli.commands import sign as signing
from mirror.destinations import registry
from mirror.errors import IntegrityError, RequestError
from mirror.formats.signing import SecretKey
from mirror.planning.retention import Retention
from mirror.sync.kept.prune import prune
from mirror.sync.offline.check import check
from mirror.sync.offline.rehearse import rehearse
from mirror.sync.repair.refetch import repair
from mirror.sync.run import plan, sync
from mirror.sync.sync_options import SyncOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rig.bench import Bench

    from mirror.destinations import Destination
    from mirror.nix.command import Nix

NAME: Final = "memory:laptop"
LINE: Final = "laptop = DEMO#laptop"


class Untold:
    def begin(self, total: int) -> None: ...

    def read(self, amount: int) -> None: ...

    def end(self) -> None: ...


@pytest.fixture
def memories(monkeypatch: pytest.MonkeyPatch) -> Memories:
    kind = Memories()
    monkeypatch.setattr(registry, "KINDS", [kind, *registry.KINDS])
    return kind


@pytest.mark.timeout(1800)
async def test_a_destination_of_another_kind_is_kept_proven_mended_and_pruned(
    bench: Bench, nix_stable: Nix, memories: Memories, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch = bench.directory / "temporary"
    scratch.mkdir()
    nix = replace(nix_stable, environment={**nix_stable.environment, "TMPDIR": str(scratch)})
    targets = bench.targets(LINE)
    store = bench.evaluation.url

    @asynccontextmanager
    async def opened(*, exclusive: bool = False) -> AsyncIterator[Destination]:
        async with registry.open_destination(NAME, exclusive=exclusive, to_mend=True) as found:
            yield found

    async with opened(exclusive=True) as destination, bench.workshop(nix) as workshop:
        planned = await plan(targets, workshop, destination, bench.recorder)
        assert planned.need.fits
        assert planned.need.text("this").startswith(f"{NAME} has no known limit, and this needs")
        assert planned.plan.missing_paths
        synced = await sync(
            targets,
            nullcontext(workshop),
            destination,
            bench.recorder,
            SyncOptions(jobs=8, keep_going=True),
        )
    assert synced.is_complete
    kept = set(synced.kept[0].paths)
    assert kept == memories.named[NAME].entries.keys()

    async with opened() as destination:
        (checked,) = await check(targets, nix, bench.recorder, store=store, destination=destination)
        assert checked.is_ready
        (found,) = await rehearse(targets, nix, bench.recorder, destination, store=store)
        assert found.has_passed, found.problem
        assert found.built > 0
    assert await roots.execute(NAME, json=True) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["destination"] == NAME
    (generation,) = listed["generations"]
    assert (generation["target"], generation["missing"]) == ("laptop", [])
    assert generation["receipt"]["state"] == "rehearsed"

    from_cache = min(path for path in kept if not path.is_derivation)
    entries = memories.named[NAME].entries
    whole = entries[from_cache]
    entries[from_cache] = Entry(whole.claim, whole.nar[:-1] + bytes([whole.nar[-1] ^ 1]))
    async with opened(exclusive=True) as destination, bench.workshop(nix) as workshop:
        (failed,) = await rehearse(targets, nix, bench.recorder, destination, store=store)
        assert isinstance(failed.problem, IntegrityError)
        assert from_cache in failed.problem.message
        verified = await destination.verify(Untold(), jobs=2)
        assert [each.path for each in verified.damages] == [from_cache]
        (mended,) = await repair(verified, destination, workshop, bench.recorder, jobs=8)
        assert mended.is_mended, mended
        assert (await destination.verify(Untold(), jobs=2)).damages == ()

        nothing = bench.targets(f"{LINE} level=runtime")
        await sync(
            nothing,
            nullcontext(workshop),
            destination,
            bench.recorder,
            SyncOptions(jobs=8, keep_going=True),
        )
        pruned = await prune(
            destination,
            Retention(keep=1, within=None),
            listed=None,
            removed=False,
            grace=timedelta(0),
            now=datetime.now(UTC),
            dry_run=False,
        )
        (newest,) = await destination.generations()
        assert newest.number == 2
        assert set(newest.paths) == entries.keys()
        assert pruned.swept is not None
        assert set(pruned.swept.retired) == kept - set(newest.paths) != set()


async def test_what_it_cannot_do_is_said(memories: Memories, tmp_path: Path) -> None:
    async with registry.open_destination(NAME):
        pass
    key = tmp_path / "key"
    key.write_text(str(SecretKey.generate("mirror-1")))
    with pytest.raises(
        RequestError, match="cannot sign in memory:laptop: it is of a kind that keeps no sig"
    ):
        await signing.execute(NAME, key, every=False, dry_run=False, json=False)
    with pytest.raises(RequestError, match="memory:laptop cannot be served from here"):
        await serving.execute(
            NAME, store=False, listen_at=["127.0.0.1:0"], priority=30, signing_key=None
        )
    with pytest.raises(RequestError, match="not a destination: s3://bucket") as raised:
        registry.open_destination("s3://bucket")
    assert "memory:NAME" in (raised.value.hint or "")
    assert memories.named[NAME].holder is None
