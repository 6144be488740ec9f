"""What every destination promises, shown on each of them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.made_paths import chain, generation, input_addressed, numbered, put, text

from mirror.destinations import CacheDirectory, Ready, Receipt, RunRecord
from mirror.destinations.records.receipt import DOES_NOT_APPLY, receipts_in
from mirror.destinations.records.run_record import PROBLEMS_KEPT, as_problems, run_records_in
from mirror.errors import DestinationError, LockedError, NotAvailableError
from mirror.formats.verifier import Claim, NarVerifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from mirror.destinations.destination import Destination

    Open = Callable[..., AbstractAsyncContextManager[Destination]]


class Untold:
    """Who is not interested in how far the reading is."""

    def begin(self, total: int) -> None: ...

    def read(self, amount: int) -> None: ...

    def end(self) -> None: ...


async def test_a_new_destination_holds_nothing(open_destination: Open) -> None:
    async with open_destination() as destination:
        assert not await destination.held([text("nothing").path])
        assert not await destination.held([])
        assert not await destination.generations()


async def test_what_was_committed_is_held_with_what_is_known_of_it(
    open_destination: Open,
) -> None:
    links = [*chain(3), input_addressed("itself", refers_to_itself=True)]
    paths = [made.path for made in links]
    async with open_destination() as destination:
        await destination.protect([*paths, text("absent").path])
        for made in links:
            await put(destination, made)
        expected = {made.path: made.info for made in links}
        assert await destination.held([*paths, text("absent").path]) == expected
    async with open_destination() as destination:
        assert await destination.held(paths) == expected


async def test_what_was_committed_can_be_read_again(open_destination: Open) -> None:
    links = [*chain(2), text("large", content=os.urandom(3 << 20))]
    paths = [made.path for made in links]
    absent = text("absent").path
    async with open_destination() as destination:
        for made in links:
            await put(destination, made)
        for made in links:
            async with destination.read(made.path) as kept:
                verifier = NarVerifier(kept.claim)
                pieces = [piece async for chunk in kept.chunks for piece in verifier.feed(chunk)]
                assert verifier.finish().info.path == made.path
            assert b"".join(pieces) == made.nar
        contents = await destination.read_files([*paths, absent])
        assert contents.keys() == set(paths)
        assert contents[paths[0]] == b"link-0"
        with pytest.raises(NotAvailableError):
            await destination.read(absent).__aenter__()


async def test_what_paths_take_is_counted_by_pieces(open_destination: Open) -> None:
    small, large = text("small"), text("large", content=os.urandom(1 << 20))
    absent = text("absent").path
    async with open_destination() as destination:
        for made in (small, large):
            await put(destination, made)
        sizes = await destination.sizes([small.path, large.path, absent])
        assert sizes.keys() == {small.path, large.path}
        assert not sizes[small.path].keys() & sizes[large.path].keys()
        assert sum(sizes[large.path].values()) > 1 << 20 > sum(sizes[small.path].values()) > 0


async def test_what_is_kept_is_verified_and_needs_no_repair(open_destination: Open) -> None:
    links = chain(2)
    async with open_destination(to_mend=True) as destination:
        for made in links:
            await put(destination, made)
        await destination.keep(generation(links))
        verified = await destination.verify(Untold(), jobs=2)
        assert verified.damages == ()
        assert verified.sound == {made.path for made in links}
        assert verified.bytes > 0
        repair = await destination.begin_repair(verified)
        assert not any(repair.batches)
        assert not await repair.finish([])


async def test_what_no_generation_needs_can_be_swept_unless_nix_does_that(
    open_destination: Open,
) -> None:
    links, other = chain(2), text("other")
    now = datetime.now(UTC)
    async with open_destination() as destination:
        for made in [*links, other]:
            await put(destination, made)
        sweeping = destination.sweeping
        assert (sweeping is None) == (destination.store is not None)
        if sweeping is None:
            return
        for dry_run in (True, False):
            assert len(await destination.held([other.path])) == 1
            swept = await sweeping.sweep(
                [links[1].path],
                targets=(),
                now=now,
                grace=timedelta(0),
                is_served=False,
                dry_run=dry_run,
            )
            assert swept.retired == (other.path,)
        assert (await destination.held([made.path for made in [*links, other]])).keys() == {
            made.path for made in links
        }


async def test_where_a_destination_is_to_be_found_goes_with_what_it_keeps(
    open_destination: Open,
) -> None:
    """Nix builds in a store itself, and takes from a directory; only files can be watched."""
    async with open_destination() as destination:
        with destination.as_substituter() as url:
            assert (url is not None) == (destination.directory is not None)
        is_elsewhere = destination.store is None and destination.directory is None
        assert bool(destination.watched()) != is_elsewhere
        assert destination.store is None or destination.keeps == "nar"
        destination.look_as(trusted_keys=(), is_old_nix=True)
        room = await destination.room()
        assert room.bytes is None or room.bytes > 0


async def test_what_is_not_committed_is_not_held(open_destination: Open) -> None:
    made = text("abandoned")
    claim = Claim(info=made.info, made_here=True)
    async with open_destination() as destination:
        async with destination.stage(claim) as staging:
            staging.write(made.nar)
        async with destination.stage(claim):
            pass
        with contextlib.suppress(ZeroDivisionError):
            async with destination.stage(claim) as staging:
                staging.write(made.nar[:10])
                1 / 0  # noqa: B018 - any failure
        assert not await destination.held([made.path])


async def test_a_path_is_refused_before_what_it_refers_to(open_destination: Open) -> None:
    first, second = chain(2)
    async with open_destination() as destination:
        with pytest.raises(DestinationError, match="link-0"):
            await put(destination, second)
        assert not await destination.held([second.path])
        await put(destination, first)
        await put(destination, second)
        assert len(await destination.held([first.path, second.path])) == 2


async def test_a_path_can_be_committed_again(open_destination: Open) -> None:
    made = text("again")
    async with open_destination() as destination:
        await put(destination, made)
        await put(destination, made)
        assert await destination.held([made.path]) == {made.path: made.info}


async def test_large_paths_are_taken_in_pieces(open_destination: Open) -> None:
    made = text("large", content=os.urandom(3 << 20))
    claim = Claim(info=made.info, made_here=True)
    async with open_destination() as destination:
        verifier = NarVerifier(claim)
        async with destination.stage(claim) as staging:
            for start in range(0, len(made.nar), 300_001):
                for piece in verifier.feed(made.nar[start : start + 300_001]):
                    staging.write(piece)
            await destination.commit([Ready(staging, verifier.finish())])
        assert await destination.held([made.path]) == {made.path: made.info}


async def test_generations_are_kept_and_forgotten(open_destination: Open) -> None:
    links = chain(3)
    first = generation(links[:2])
    second = numbered(generation(links), 2)
    other = generation(links[:1], target="../a target?")
    async with open_destination() as destination:
        for made in links:
            await put(destination, made)
        for kept in (second, first, other):
            await destination.keep(kept)
        assert await destination.generations() == [other, first, second]
        await destination.forget(first)
        await destination.forget(first)
    async with open_destination() as destination:
        assert await destination.generations() == [other, second]


async def test_an_incomplete_generation_is_refused(open_destination: Open) -> None:
    links = chain(2)
    async with open_destination() as destination:
        await put(destination, links[0])
        with pytest.raises(DestinationError, match="link-1"):
            await destination.keep(generation(links))
        assert not await destination.generations()


async def test_one_run_at_a_time_holds_the_lock(open_destination: Open) -> None:
    async with open_destination() as destination:
        with pytest.raises(LockedError, match=f"process {os.getpid()} on .* since 20"):
            async with open_destination():
                pass
        await put(destination, text("still-working"))
    async with open_destination():
        pass


async def test_the_newest_receipt_of_each_target_is_kept_without_a_lock(
    open_destination: Open,
) -> None:
    first = Receipt(
        target="../a target?",
        number=1,
        root=text("root.drv").path,
        nix_version="2.8.0",
        created=datetime(2026, 11, 22, 10, 30, tzinfo=UTC),
        lock_file=Path("/etc/nixos/flake.lock"),
        lock_hash="sha256-AAAA",
        problem=None,
        edits={"hosts": None, "wifi": f"{DOES_NOT_APPLY}it has no wifi"},
    )
    second = replace(first, problem="it does not build", lock_file=None, lock_hash=None)
    assert first.has_passed
    assert not second.has_passed
    async with (
        open_destination(),
        open_destination(exclusive=False) as onlooker,
    ):
        assert not await onlooker.receipts()
        await onlooker.record(first)
        assert await onlooker.receipts() == [first]
        await onlooker.record(second)
        await onlooker.record(replace(first, target="another"))
        assert await onlooker.receipts() == [second, replace(first, target="another")]
        await onlooker.forget_records(first.target)
        assert await onlooker.receipts() == [replace(first, target="another")]


@pytest.mark.parametrize("damaged", [b"", b"[]", b'{"version": 2}', b'{"version": 1}'])
def test_a_document_that_cannot_be_read_is_named(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "laptop.json").write_bytes(damaged)
    with pytest.raises(DestinationError, match=r"laptop\.json") as raised:
        receipts_in(tmp_path).read()
    assert "rehearse again" in str(raised.value.hint)
    with pytest.raises(DestinationError, match=r"laptop\.json") as raised:
        run_records_in(tmp_path).read()
    assert "sync again" in str(raised.value.hint)


RECEIPT = Receipt(
    target="laptop",
    number=1,
    root=text("root").path,
    nix_version="2.34.8",
    created=datetime(2026, 11, 22, tzinfo=UTC),
    lock_file=None,
    lock_hash=None,
    problem=None,
    edits={},
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"+00:00", b""),
        (b'"number": 1', b'"number": 1e999'),
        (b'"number": 1', b'"number": -1'),
        (b'"number": 1', b'"number": ' + b"9" * 400),
        (b'"problem": null', b'"problem": ' + b"[" * 100_000),
    ],
    ids=["local-time", "infinity", "negative", "huge", "deep"],
)
def test_what_no_run_would_write_is_no_document(tmp_path: Path, old: bytes, new: bytes) -> None:
    """Each would be an error of Python's own where it is read, or only where it is shown."""
    receipts_in(tmp_path).write(RECEIPT)
    file = tmp_path / "laptop.json"
    data = file.read_bytes()
    assert old in data
    # Under another name it vouches for nothing, as in documents of before there was a digest.
    file.write_bytes(data.replace(old, new).replace(b'"digest"', b'"told"'))
    with pytest.raises(DestinationError, match=r"laptop\.json: not a receipt") as raised:
        receipts_in(tmp_path).read()
    assert len(raised.value.message) < 500


def test_who_is_told_of_what_cannot_be_read_gets_all_else(tmp_path: Path) -> None:
    receipts_in(tmp_path).write(RECEIPT)
    (tmp_path / "phone.json").write_bytes(b"{}")
    (tmp_path / "tablet.json").mkdir()
    errors: list[DestinationError] = []
    assert receipts_in(tmp_path).read(errors.append) == [RECEIPT]
    assert sorted(Path(each.message.split(":")[0]).name for each in errors) == [
        "phone.json",
        "tablet.json",
    ]


async def test_generations_that_cannot_be_listed_are_not_none(tmp_path: Path) -> None:
    """Else a prune that may not look into a directory would take away what is kept there."""
    async with CacheDirectory.open(tmp_path) as cache:
        (tmp_path / "generations").rmdir()
        (tmp_path / "generations").write_bytes(b"")
        with pytest.raises(DestinationError, match="generations: Not a directory"):
            await cache.generations()


def test_nobody_waits_for_a_pipe_in_a_document_s_place(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "laptop.json")
    with pytest.raises(DestinationError, match=r"laptop\.json: a pipe, not a regular file"):
        receipts_in(tmp_path).read()


async def test_the_last_run_of_each_target_is_recorded_without_a_lock(
    open_destination: Open,
) -> None:
    first = RunRecord(
        target="../a target?",
        finished=datetime(2026, 11, 24, 3, 30, tzinfo=UTC),
        number=None,
        is_complete=False,
        problems=("it cannot be evaluated",),
    )
    second = replace(
        first,
        number=3,
        is_complete=True,
        problems=(),
        only_copies=(text("vanished").path,),
        duration_seconds=90,
        received_bytes=0,
    )
    async with (
        open_destination(),
        open_destination(exclusive=False) as onlooker,
    ):
        assert not await onlooker.run_records()
        await onlooker.record_run(first)
        assert await onlooker.run_records() == [first]
        await onlooker.record_run(second)
        await onlooker.record_run(replace(first, target="another"))
        assert await onlooker.run_records() == [second, replace(first, target="another")]
        assert not await onlooker.receipts()


def test_problems_are_short_lines_and_not_too_many() -> None:
    assert as_problems(["error:\n  … while\n\0\x1b\tboom"]) == ("error: … while boom",)
    (long,) = as_problems([f"laptop cannot{' be' * 10_000} evaluated"])
    assert len(long) <= 500
    assert long.startswith("laptop cannot")
    assert long.endswith("evaluated")
    many = as_problems(f"problem {number}" for number in range(1000))
    assert len(many) == PROBLEMS_KEPT
    assert many[-1] == f"and {1000 - PROBLEMS_KEPT + 1} more"


async def test_looking_needs_no_lock(open_destination: Open) -> None:
    made = text("seen")
    async with open_destination() as destination:
        await put(destination, made)
        await destination.keep(generation([made]))
        async with open_destination(exclusive=False) as onlooker:
            assert await onlooker.held([made.path]) == {made.path: made.info}
            assert await onlooker.generations() == [generation([made])]
