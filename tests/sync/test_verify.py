"""Verifying a cache directory: every flipped byte of every kind of file is found, and told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

import pytest
from rig.made_paths import Made, chain, generation, input_addressed, put, put_as, text
from rig.thorough import thorough_after_the_first

from mirror.destinations import CacheDirectory, Receipt, RunRecord
from mirror.destinations.cache.layout import CHECKSUMS
from mirror.destinations.cache.sweep import Sweep
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.signing import SecretKey, fingerprint
from mirror.formats.verifier import Claim

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.destinations.verified import Verified

UPSTREAM: Final = SecretKey.generate("upstream-1")
OLD: Final = SecretKey.generate("upstream-0")
OURS: Final = SecretKey.generate("mirror-1")
DERIVER: Final = text("signed.drv").path


class Told:
    """How far it was said that the reading is."""

    def __init__(self) -> None:
        self.amount = 0

    def begin(self, total: int) -> None:
        self.total = total

    def read(self, amount: int) -> None:
        self.amount += amount

    def end(self) -> None: ...


async def verify(path: Path, *, jobs: int = 2) -> Verified:
    async with CacheDirectory.open(path, exclusive=False, to_mend=True) as cache:
        return await cache.verify(Told(), jobs=jobs)


def signed(made: Made) -> Claim:
    """As upstream has it: two signatures, a deriver."""
    keys = (OLD, UPSTREAM)
    signatures = tuple(key.sign(fingerprint(made.info)) for key in keys)
    info = replace(made.info, signatures=signatures, deriver=DERIVER)
    return Claim(info=info, file_hash=made.info.nar_hash, file_size=made.info.nar_size)


async def fill(path: Path) -> list[Made]:
    """A cache with a file of each kind."""
    links = chain(2)
    from_upstream, built = input_addressed("signed", refers_to_itself=True), input_addressed("own")
    everything = [*links, from_upstream, built]
    async with CacheDirectory.open(path, signing_key=OURS) as cache:
        for made in [*links, built]:
            await put(cache, made)
        await put_as(cache, signed(from_upstream), from_upstream.nar)
        await cache.keep(generation(everything))
        await cache.record(
            Receipt(
                target="pi",
                number=1,
                root=links[0].path,
                nix_version="2.8.0",
                created=datetime(2026, 11, 24, tzinfo=UTC),
                lock_file=None,
                lock_hash=None,
                problem=None,
                edits={"hosts": None},
            )
        )
        await cache.record_run(
            RunRecord(
                target="pi", finished=datetime(2026, 11, 24, tzinfo=UTC), number=1, is_complete=True
            )
        )
    return everything


def all_files(path: Path) -> list[str]:
    return sorted(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file())


async def test_all_is_well_after_a_sync(tmp_path: Path) -> None:
    everything = await fill(tmp_path)
    async with CacheDirectory.open(tmp_path, exclusive=False, to_mend=True) as cache:
        told = Told()
        verified = await cache.verify(told, jobs=1)
    assert verified.damages == ()
    assert verified.unproven == 0
    assert verified.strays == ()
    assert verified.paths == len(everything)
    assert verified.sound == {made.path for made in everything}
    files = all_files(tmp_path)
    assert verified.files == len(files)
    assert verified.bytes == sum((tmp_path / file).stat().st_size for file in files)
    assert told.amount >= told.total > 0


@pytest.mark.parametrize("stride", thorough_after_the_first([11, 1]))
async def test_every_flipped_byte_of_every_kind_of_file_is_found(
    tmp_path: Path, stride: int
) -> None:
    *_, from_upstream, _ = await fill(tmp_path)
    kinds: dict[str, str] = {}
    for file in all_files(tmp_path):
        kinds[PurePath(file).suffix or PurePath(file).name] = file
    kinds[".narinfo"] = f"{from_upstream.path.hash_part}.narinfo"
    kinds |= {file: file for file in all_files(tmp_path) if file.endswith(".json")}
    assert kinds.keys() >= {".narinfo", ".nar", ".zst", "nix-cache-info", "public-keys"}
    assert kinds.keys() >= {"checksums", "generations/pi/1.json", "receipts/pi.json"}
    for file in kinds.values():
        path = tmp_path / file
        data = path.read_bytes()
        # All of what readers of a cache read; of the others, which a digest covers, a part.
        step = 1 if file.startswith(("nar", "nix", "public")) or "narinfo" in file else 5
        for place in range(0, len(data), step * stride):
            flipped = bytearray(data)
            flipped[place] ^= 1 << place % 8
            path.write_bytes(flipped)
            verified = await verify(tmp_path, jobs=1)
            found = {each.file for each in verified.damages}
            assert file in found, (place, data[place : place + 20])
        path.write_bytes(data)
    assert (await verify(tmp_path)).damages == ()


async def test_nothing_seems_damaged_beside_runs_that_write(tmp_path: Path) -> None:
    """Paths come, generations are kept and dropped, what only they needed goes: all the while."""
    await fill(tmp_path)
    done = asyncio.Event()
    kept = 0

    async def write() -> None:
        nonlocal kept
        async with CacheDirectory.open(tmp_path, signing_key=OURS) as cache:
            (first,) = await cache.generations()
            while not done.is_set():
                kept += 1
                links = chain(4, f"link-{kept}")
                for made in links:
                    await put(cache, made)
                newest = generation(links, target="other", number=kept)
                await cache.keep(newest)
                await cache.record_run(
                    RunRecord(target="pi", finished=newest.created, number=1, is_complete=True)
                )
                await cache.forget(newest)
                sweep = Sweep(tmp_path, live=first.paths, targets=["pi"], now=datetime.now(UTC))
                await asyncio.to_thread(sweep.run, grace=timedelta(0))

    writing = asyncio.create_task(write())
    try:
        while kept < 20 and not writing.done():
            verified = await verify(tmp_path)
            assert verified.damages == ()
            assert verified.sound
    finally:
        done.set()
        await writing
    assert (await verify(tmp_path)).damages == ()


async def test_what_is_lost_is_found(tmp_path: Path) -> None:
    """A manifest, a narinfo that another path refers to, and a NAR."""
    link, top, from_upstream, built = await fill(tmp_path)
    for made in (link, built):
        (tmp_path / f"{made.path.hash_part}.narinfo").unlink()
    (tmp_path / "generations/pi/1.json").unlink()
    upstream_nar = next((tmp_path / "nar").glob("*.nar"))
    upstream_nar.unlink()
    verified = await verify(tmp_path)
    assert {(each.file, each.path) for each in verified.damages} == {
        ("generations/pi/1.json", None),
        (f"{link.path.hash_part}.narinfo", link.path),
        (f"nar/{upstream_nar.name}", from_upstream.path),
    }
    assert verified.sound == {top.path}


async def test_what_a_damaged_record_has_no_line_of_is_suspected(tmp_path: Path) -> None:
    *_, from_upstream, _ = await fill(tmp_path)
    name = f"{from_upstream.path.hash_part}.narinfo"
    record, file = tmp_path / CHECKSUMS, tmp_path / name
    record.write_bytes(record.read_bytes().replace(name.encode(), b"g" + name[1:].encode()))
    # Of this nothing but the record knows.
    file.write_bytes(file.read_bytes().replace(b"signed.drv", b"sighed.drv"))
    damages = {each.file: each for each in (await verify(tmp_path)).damages}
    assert damages.keys() == {CHECKSUMS, name}
    assert f"{CHECKSUMS} is damaged" in damages[name].problem
    assert not damages[name].is_unfit


async def test_what_is_not_of_the_cache_is_told_and_no_damage(tmp_path: Path) -> None:
    await fill(tmp_path)
    strays = ["nar/readme", "notes.txt", "runs/notes", "generations/x", ".prefetch/thing"]
    for name in strays:
        (tmp_path / name).write_text("not ours")
    verified = await verify(tmp_path)
    assert verified.damages == ()
    assert sorted(verified.strays) == sorted(strays)


async def test_a_damaged_nar_that_no_narinfo_names_is_found(tmp_path: Path) -> None:
    *_, _built = await fill(tmp_path)
    name = f"{Hash.of(b'left by a run that was killed').base32}.nar.zst"
    (tmp_path / "nar" / name).write_bytes(b"left by a run that was killed")
    assert (await verify(tmp_path)).damages == ()
    (tmp_path / "nar" / name).write_bytes(b"left by a run that was kilted")
    assert [each.file for each in (await verify(tmp_path)).damages] == [f"nar/{name}"]


async def test_what_cannot_be_read_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    link, *others = await fill(tmp_path)
    narinfo = tmp_path / f"{link.path.hash_part}.narinfo"
    nar = parse_narinfo(narinfo.read_bytes()).url
    unnamed = f"nar/{Hash.of(b'unnamed').base32}.nar.zst"
    (tmp_path / nar).unlink()
    for name in (nar, unnamed, "runs/pi.json"):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).mkdir()
    verified = await verify(tmp_path)
    assert {each.file: each.problem for each in verified.damages} == dict.fromkeys(
        (nar, unnamed, "runs/pi.json"), "it cannot be read: Is a directory"
    )
    assert verified.sound == {each.path for each in others}


async def test_a_narinfo_that_is_whole_may_not_lead_out_of_the_cache(tmp_path: Path) -> None:
    *_, from_upstream, _ = await fill(tmp_path)
    file = tmp_path / f"{from_upstream.path.hash_part}.narinfo"
    (tmp_path / CHECKSUMS).unlink()
    file.write_bytes(file.read_bytes().replace(b"URL: nar/", b"URL: nar/../nar/"))
    (damage,) = (await verify(tmp_path)).damages
    assert damage.file == file.name
    assert "which is not in nar/" in damage.problem
