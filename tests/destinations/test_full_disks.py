"""Destinations on file systems that fill up: at each page, and without room for another file."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from rig.made_paths import Made, generation, put, text
from rig.published import read_by_nix
from rig.small_disk import PAGE, SmallDisk

from mirror.destinations import CacheDirectory
from mirror.destinations.cache.sweep import Sweep
from mirror.destinations.free_space import room_at
from mirror.errors import FullError

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.nix.command import Nix


def incompressible(count: int) -> list[Made]:
    """Paths of some pages each, of which each refers to the one before it."""
    made = [text("one-0", content=os.urandom(2 * PAGE))]
    for number in range(1, count):
        made.append(text(f"one-{number}", made[-1], content=os.urandom(number * PAGE)))
    return made


async def fill(cache: Path, paths: list[Made]) -> None:
    """What a sync does there, from its beginning to its end."""
    async with CacheDirectory.open(cache) as destination:
        held = await destination.held([made.path for made in paths])
        for made in paths:
            if made.path not in held:
                await put(destination, made)
        if not await destination.generations():
            await destination.keep(generation(paths))


async def fills_up(cache: Path, paths: list[Made]) -> bool:
    """Whether there is too little room for it, which then is said."""
    try:
        await fill(cache, paths)
    except FullError as error:
        said = f"{error.message} ({error.hint})"
    else:
        return False
    assert "No space left on device (make room there" in said
    return True


async def completed(cache: Path, paths: list[Made], nix: Nix) -> None:
    """Do it again, where there is room now: all is there."""
    await fill(cache, paths)
    assert read_by_nix(nix, cache) == {made.path for made in paths}
    async with CacheDirectory.open(cache, exclusive=False) as again:
        assert [each.paths for each in await again.generations()] == [generation(paths).paths]
    assert not list(cache.glob(".prefetch/staging/*"))


async def test_a_cache_directory_can_fill_up_at_every_page(tmp_path: Path, nix_stable: Nix) -> None:
    paths = incompressible(4)
    found: list[set[str]] = []
    is_full, pages = True, 0
    while is_full:
        pages += 1
        with SmallDisk.mount(tmp_path / "disk", f"size={pages * PAGE}") as disk:
            cache = disk.outside / "cache"
            is_full = await fills_up(cache, paths)
            if (cache / "nix-cache-info").exists():
                found.append(read_by_nix(nix_stable, cache))
            disk.remount("size=1m")
            await completed(cache, paths, nix_stable)
    assert sorted(map(len, found)) == list(map(len, found))
    assert {len(each) for each in found} == set(range(5)), "it was full at each stage"


@pytest.mark.parametrize("inodes", range(2, 18, 3))
async def test_a_cache_directory_can_run_out_of_inodes(
    tmp_path: Path, nix_stable: Nix, inodes: int
) -> None:
    paths = incompressible(4)
    with SmallDisk.mount(tmp_path / "disk", f"size=1m,nr_inodes={inodes}") as disk:
        cache = disk.outside / "cache"
        assert await fills_up(cache, paths)
        if (cache / "nix-cache-info").exists():
            assert read_by_nix(nix_stable, cache) <= {made.path for made in paths}
        disk.remount("nr_inodes=100")
        await completed(cache, paths, nix_stable)


async def test_what_is_full_to_the_last_byte_can_be_pruned(tmp_path: Path) -> None:
    paths = incompressible(4)
    with SmallDisk.mount(tmp_path / "disk", "size=1m") as disk:
        cache = disk.outside / "cache"
        await fill(cache, paths)
        fill_to_the_last_byte(disk.outside / "of-others")
        assert disk.free_bytes == 0
        async with CacheDirectory.open(cache) as destination:
            (kept,) = await destination.generations()
            await destination.forget(kept)
            sweep = Sweep(cache, live=[], targets=[], now=datetime.now(UTC))
            assert len(sweep.run(grace=timedelta()).retired) == 4
        assert disk.free_bytes > 8 * PAGE


def fill_to_the_last_byte(file: Path) -> None:
    with file.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(PAGE))


def test_room_is_that_of_where_it_is_to_be_made(tmp_path: Path) -> None:
    with SmallDisk.mount(tmp_path / "disk", f"size={7 * PAGE},nr_inodes=9") as disk:
        room = room_at(disk.outside / "srv/cache")
    assert room.place == disk.outside / "srv/cache"
    assert room.bytes == 7 * PAGE
    assert room.files == 8
    assert not room.may_compress
