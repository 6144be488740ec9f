"""Repairs: what is damaged is had again, byte for byte, from who has it; the rest is told."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.made_paths import Made, generation, input_addressed, put_as
from rig.running import run
from rig.serving import serve_directory
from rig.shell import shell

from mirror.destinations import CacheDirectory, NixStore
from mirror.destinations.cache.layout import DAMAGED, RETIRED
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.verifier import Claim
from mirror.nix.stores import StoreLocation
from mirror.sync.repair.refetch import repair

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rig.bench import Bench
    from rig.serving import Served

    from mirror.destinations.verified import Mended, Verified
    from mirror.nix.command import Nix

__all__ = ["shell"]

LINES = "laptop = DEMO#laptop level=sources"


class Untold:
    def begin(self, total: int) -> None: ...

    def read(self, amount: int) -> None: ...

    def end(self) -> None: ...


async def verified(path: Path) -> Verified:
    async with CacheDirectory.open(path, exclusive=False, to_mend=True) as cache:
        return await cache.verify(Untold(), jobs=2)


async def repaired(
    bench: Bench, nix: Nix, path: Path, *, substituters: tuple[str, ...] | None = None
) -> Sequence[Mended]:
    async with (
        CacheDirectory.open(path, to_mend=True) as cache,
        bench.workshop(nix, substituters=substituters, builder=False) as workshop,
    ):
        found = await cache.verify(Untold(), jobs=2)
        return await repair(found, cache, workshop, bench.recorder, jobs=8)


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()
    }


def flip(file: Path, place: int | None = None) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 4
    file.chmod(0o644)
    file.write_bytes(data)


def damage_everything(cache: Path) -> set[str]:
    """A byte of each NAR, or of its narinfo, in turn: of each of the narinfo's fields."""
    damaged = set()
    for number, file in enumerate(sorted(cache.glob("*.narinfo"))):
        data = file.read_bytes()
        if number % 2:
            flip(file, number % len(data))
            damaged.add(file.name)
        else:
            url = parse_narinfo(data).url
            flip(cache / url)
            damaged.add(url)
    for name in ("nix-cache-info", ".prefetch/checksums"):
        flip(cache / name)
        damaged.add(name)
    (cache / ".prefetch/serving").write_bytes(b"x")
    return damaged | {".prefetch/serving"}


async def test_all_of_a_cache_is_had_again_as_it_was(bench: Bench, nix_stable: Nix) -> None:
    cache = bench.directory / "cache"
    assert (await bench.sync(nix_stable, LINES, cache)).is_complete
    before = contents(cache)
    damaged = damage_everything(cache)
    found = {each.file for each in (await verified(cache)).damages}
    assert damaged <= found
    mended = await repaired(bench, nix_stable, cache)
    assert {each.damage.file for each in mended} == found
    assert [each for each in mended if not each.is_mended] == []
    after = contents(cache)
    # What evaluation had put there a cache may have, too, compressed otherwise.
    local = {name for name in before if name.endswith("narinfo") and b"\nSig: " not in before[name]}
    local |= {parse_narinfo(before[name]).url for name in local}
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed <= {*local, *(f".prefetch/{name}" for name in ("lock", "checksums", "contents"))}
    assert len(changed) < len(before) / 10
    for name in local:
        if name.endswith("narinfo"):
            was, now = parse_narinfo(before[name]).info, parse_narinfo(after[name]).info
            assert (was.nar_hash, was.references) == (now.nar_hash, now.references)
    assert (await verified(cache)).damages == ()
    run(
        nix_stable, *("nix", "store", "verify", "--store", f"file://{cache}", "--all", "--no-trust")
    )
    assert not list((cache / "nar").parent.glob(f"{DAMAGED}/*"))


async def test_what_nobody_has_is_kept_from_readers_until_somebody_has_it(
    bench: Bench, nix_stable: Nix
) -> None:
    cache = bench.directory / "cache"
    assert (await bench.sync(nix_stable, "hello = DEMO#hello level=runtime", cache)).is_complete
    before = contents(cache)
    entries = {file: parse_narinfo(file.read_bytes()) for file in cache.glob("*.narinfo")}
    needed = {path for each in entries.values() for path in each.info.references}
    file, lost = next(each for each in entries.items() if each[1].info.path in needed)
    top = next(each for each in entries.values() if lost.info.path in each.info.references)
    flip(cache / lost.url)
    mended = await repaired(bench, nix_stable, cache, substituters=())
    (damage,) = mended
    assert damage.damage.file == lost.url
    assert damage.damage.path == lost.info.path
    assert not damage.is_mended
    assert damage.set_aside == f"{DAMAGED}/{lost.url.removeprefix('nar/')}"
    assert damage.attempts
    async with serve_directory(cache) as served:
        assert (await served.ask(f"/{file.name}")).status == 404
        assert (await served.ask(f"/{top.info.path.hash_part}.narinfo")).status == 200
    async with CacheDirectory.open(cache, exclusive=False) as looked:
        assert not await looked.held([lost.info.path])
    mended = await repaired(bench, nix_stable, cache)
    assert [(each.is_mended, each.damage.file) for each in mended] == [(True, lost.url)]
    assert without_lock(cache) == without_lock_of(before)


@pytest.mark.parametrize("odd", ["pipe", "device", "huge"])
async def test_what_is_no_narinfo_at_all_is_had_again(
    bench: Bench, nix_stable: Nix, odd: str
) -> None:
    cache = bench.directory / "cache"
    assert (await bench.sync(nix_stable, "hello = DEMO#hello level=runtime", cache)).is_complete
    file = min(cache.glob("*.narinfo"))
    file.unlink()
    match odd:
        case "pipe":
            os.mkfifo(file)
        case "device":
            file.symlink_to("/dev/zero")
        case _:
            file.touch()
            os.truncate(file, 1 << 40)
    (mended,) = await repaired(bench, nix_stable, cache)
    assert mended.is_mended
    assert not file.is_symlink()
    assert parse_narinfo(file.read_bytes()).info.path.hash_part == file.stem


async def test_what_needs_a_path_that_nobody_has_is_mended_all_the_same(
    bench: Bench, nix_stable: Nix
) -> None:
    cache, other = bench.directory / "cache", bench.directory / "other"
    await bench.sync(nix_stable, "hello = DEMO#hello level=runtime", cache)
    shutil.copytree(cache, other)
    entries = [parse_narinfo(file.read_bytes()) for file in cache.glob("*.narinfo")]
    needed = {path for each in entries for path in each.info.references}
    lost = next(each for each in entries if each.info.path in needed)
    top = next(each for each in entries if lost.info.path in each.info.references)
    for each in (lost, top):
        flip(cache / each.url)
    (other / f"{lost.info.path.hash_part}.narinfo").unlink()
    mended = await repaired(
        bench, nix_stable, cache, substituters=(f"file://{other}?trusted=true",)
    )
    assert {each.damage.path: each.is_mended for each in mended} == {
        lost.info.path: False,
        top.info.path: True,
    }


async def test_a_narinfo_is_made_again_of_what_its_content_proves(
    bench: Bench, nix_stable: Nix
) -> None:
    cache = bench.directory / "cache"
    await bench.sync(nix_stable, "hello = DEMO#hello level=runtime", cache)
    before = without_lock(cache)
    entries = {file: parse_narinfo(file.read_bytes()) for file in cache.glob("*.narinfo")}
    file = next(file for file, each in entries.items() if each.info.content_address)
    other = next(file for file, each in entries.items() if not each.info.content_address)
    for each in (file, other):
        lines = each.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("Deriver: ", "FileSize: "))]
        made_up = ["FileSize: 7\n", f"Deriver: {'0' * 32}-made-up.drv\n"]
        each.write_text("".join([*kept, *made_up]))
    bench.evaluation = bench.empty_store("knows-nothing")
    mended = await repaired(bench, nix_stable, cache, substituters=())
    done = {each.damage.file: each for each in mended}
    assert done.keys() == {file.name, other.name}
    assert done[file.name].is_mended
    assert file.read_bytes() == before[file.name]
    # Upstream's signature vouches for all but the deriver, which is left out.
    assert done[other.name].is_mended
    assert "made-up" not in other.read_text()
    assert parse_narinfo(other.read_bytes()).info.signatures
    assert (await verified(cache)).damages == ()


async def test_a_nar_of_two_paths_is_had_again_with_either(bench: Bench, nix_stable: Nix) -> None:
    cache = bench.directory / "cache"
    await bench.sync(nix_stable, "hello = DEMO#hello level=runtime", cache)
    entries = [parse_narinfo(each.read_bytes()) for each in cache.glob("*.narinfo")]
    entry = next(each for each in entries if each.info.signatures and not each.info.references)
    # Nobody else has this one, and nobody vouches for it.
    twin = replace(entry.info, path=input_addressed("twin").path, signatures=(), deriver=None)
    claim = Claim(info=twin, compression=entry.compression, file_hash=entry.file_hash)
    content = (cache / entry.url).read_bytes()
    async with CacheDirectory.open(cache) as directory:
        await put_as(directory, claim, content)
        await directory.keep(generation([Made(twin, b"")], target="twin"))
    flip(cache / entry.url)
    mended = await repaired(bench, nix_stable, cache)
    assert {each.damage.path for each in mended} == {entry.info.path, twin.path}
    assert all(each.is_mended and each.set_aside is None for each in mended)
    assert (cache / entry.url).read_bytes() == content
    assert (await verified(cache)).damages == ()


async def test_what_is_on_its_way_out_is_not_had_again(bench: Bench, nix_stable: Nix) -> None:
    cache = bench.directory / "cache"
    await bench.sync(nix_stable, "hello = DEMO#hello level=runtime", cache)
    entries = {file: parse_narinfo(file.read_bytes()) for file in cache.glob("*.narinfo")}
    needed = {path for each in entries.values() for path in each.info.references}
    file, entry = next(each for each in entries.items() if each[1].info.path not in needed)
    (cache / RETIRED).mkdir()
    file.replace(cache / RETIRED / file.name)
    shutil.rmtree(cache / "generations/hello")
    (cache / "runs/hello.json").unlink()
    flip(cache / entry.url)
    (mended,) = await repaired(bench, nix_stable, cache)
    assert (mended.damage.file, mended.is_mended, mended.source) == (entry.url, True, None)
    assert not (cache / RETIRED / file.name).exists()
    assert not (cache / entry.url).exists()
    assert (await verified(cache)).damages == ()


async def test_readers_of_a_server_get_old_or_new_while_it_is_repaired(
    bench: Bench, nix_stable: Nix
) -> None:
    cache = bench.directory / "cache"
    await bench.sync(nix_stable, LINES, cache)
    good = contents(cache)
    damage_everything(cache)
    bad = contents(cache)
    asked = 0
    new: list[tuple[str, bytes]] = []
    """What is had again in another compression than that it had."""

    async def read(served: Served) -> None:
        nonlocal asked
        while True:
            for name in sorted(good):
                if name.startswith("nar/") or "narinfo" in name:
                    reply = await served.ask(f"/{name}")
                    if reply.status == 200:
                        assert len(reply.body) == int(reply.headers["Content-Length"])
                        if reply.body not in {good[name], bad[name]}:
                            new.append((name, reply.body))
                    asked += 1

    async with serve_directory(cache) as served:
        reading = asyncio.create_task(read(served))
        mended = await repaired(bench, nix_stable, cache)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert reading.cancelled()
        assert asked > 10
        assert [name for name, body in new if body != (cache / name).read_bytes()] == []
        assert all(each.is_mended for each in mended)
        for file in cache.glob("*.narinfo"):
            narinfo = await served.ask(f"/{file.name}")
            if not file.stat().st_mode & 0o077:
                assert narinfo.status == 404, "it is private, and stays so"
                continue
            assert narinfo.body == file.read_bytes()
            nar = await served.ask(f"/{parse_narinfo(narinfo.body).url}")
            assert Hash.of(nar.body) == parse_narinfo(narinfo.body).file_hash


async def test_a_store_is_repaired_as_nix_would(bench: Bench, any_nix: Nix) -> None:
    store = bench.empty_store("client")
    await bench.sync(any_nix, LINES, store)

    async def look(*, mend: bool) -> tuple[Verified, Sequence[Mended]]:
        location = StoreLocation.parse(store.url)
        async with (
            NixStore.open(any_nix, location, exclusive=mend, to_mend=mend) as destination,
            bench.workshop(any_nix, builder=False) as workshop,
        ):
            found = await destination.verify(Untold(), jobs=2)
            if not mend:
                return found, ()
            return found, await repair(found, destination, workshop, bench.recorder, jobs=8)

    found, _ = await look(mend=False)
    assert found.damages == ()
    damaged = set()
    for path in sorted(found.sound)[::3]:
        for file in sorted([store.real(path), *store.real(path).rglob("*")]):
            if file.is_file() and not file.is_symlink() and file.stat().st_size:
                flip(file)
                file.chmod(0o555 if file.stat().st_mode & 0o100 else 0o444)
                damaged.add(path)
                break
    assert len(damaged) > 5
    found, _ = await look(mend=False)
    assert {each.path for each in found.damages} == damaged
    assert run(any_nix, "nix-store", "--verify-path", *damaged, store=store, check=False).returncode
    _, mended = await look(mend=True)
    assert {each.damage.path for each in mended if each.is_mended} == damaged
    run(any_nix, "nix-store", "--verify-path", *found.sound, *damaged, store=store)
    assert (await look(mend=False))[0].damages == ()


def without_lock(cache: Path) -> dict[str, bytes]:
    return without_lock_of(contents(cache))


def without_lock_of(files: dict[str, bytes]) -> dict[str, bytes]:
    """But for what is about these very files, and about who was here."""
    own = {".prefetch/lock", ".prefetch/contents", ".prefetch/served"}
    return {name: data for name, data in files.items() if name not in own}
