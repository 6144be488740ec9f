"""What of a destination is there once something has become of its files."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from rig.made_paths import chain, put, text
from rig.running import run

from mirror.destinations import CacheDirectory, NixStore
from mirror.destinations.cache.layout import CONTENTS
from mirror.destinations.closures import presence
from mirror.formats.narinfo import parse_narinfo
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from pathlib import Path

    from rig.made_paths import Made
    from rig.running import ScratchStore

    from mirror.nix.command import Nix
    from mirror.planning.presence import Presence


async def fill(directory: Path, *links: Made) -> None:
    async with CacheDirectory.open(directory) as cache:
        for made in links:
            await put(cache, made)


async def look(directory: Path, *links: Made, reads: bool = True) -> Presence:
    opened = CacheDirectory.open(directory, exclusive=False, reads_contents=reads, remembers=reads)
    async with opened as cache:
        return await presence(cache, [made.path for made in links])


def nar_of(directory: Path, made: Made) -> Path:
    narinfo = (directory / f"{made.path.hash_part}.narinfo").read_bytes()
    return directory / parse_narinfo(narinfo).url


def alter(file: Path, *, place: int = -1) -> None:
    """Change a byte, and nothing else that can be told without reading."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


async def test_what_is_reached_by_references_alone_has_to_be_there(tmp_path: Path) -> None:
    links = chain(3)
    await fill(tmp_path, *links)
    assert (await look(tmp_path, links[2])).there == {made.path for made in links}
    (tmp_path / f"{links[0].path.hash_part}.narinfo").unlink()
    kept = await look(tmp_path, links[2])
    assert not kept.there
    assert kept.incomplete == {links[1].path, links[2].path}


@pytest.mark.parametrize("reads", [True, False])
async def test_a_nar_that_was_altered_is_noticed_although_it_looks_the_same(
    tmp_path: Path, reads: bool
) -> None:
    first, second = chain(2)
    await fill(tmp_path, first, second)
    alter(nar_of(tmp_path, first))
    kept = await look(tmp_path, second, reads=reads)
    assert kept.broken == {first.path, second.path}
    assert kept.flaws[first.path].file == str(nar_of(tmp_path, first).relative_to(tmp_path))


async def test_of_a_copied_cache_every_nar_is_read_once(tmp_path: Path) -> None:
    made, other = text("made"), text("other")
    await fill(tmp_path / "here", made, other)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    alter(nar_of(tmp_path / "there", made))
    # Who does not read goes by what a copy of the record says of other files: by nothing.
    assert made.path in (await look(tmp_path / "there", made, other, reads=False)).there
    assert (await look(tmp_path / "there", made, other)).there == {other.path}
    # Now it is known.
    assert (await look(tmp_path / "there", made, other, reads=False)).there == {other.path}


@pytest.mark.parametrize("content", [b"", b"# 1 sha256:0\n", b"\xff" * 100, None])
async def test_a_damaged_record_of_contents_says_nothing(
    tmp_path: Path, content: bytes | None
) -> None:
    made, other = text("made"), text("other")
    await fill(tmp_path, made, other)
    record = tmp_path / CONTENTS
    if content is None:
        alter(record, place=len(record.read_bytes()) // 2)
    else:
        record.write_bytes(content)
    alter(nar_of(tmp_path, made))
    assert (await look(tmp_path, made, other)).there == {other.path}


async def test_an_altered_narinfo_counts_as_far_as_its_path_follows_from_it(
    tmp_path: Path,
) -> None:
    made, other = text("made"), text("other", text("made"))
    async with CacheDirectory.open(tmp_path) as cache:
        for each in (made, other):
            await put(cache, each)
        cache._checksums.record()
    size = tmp_path / f"{made.path.hash_part}.narinfo"
    # Nix does not look at it.
    size.write_text(size.read_text().replace("FileSize: ", "FileSize: 9"))
    assert (await look(tmp_path, other)).there == {made.path, other.path}
    references = tmp_path / f"{other.path.hash_part}.narinfo"
    references.write_text(references.read_text().replace(made.path.base_name, ""))
    kept = await look(tmp_path, other)
    assert not kept.there
    assert not kept.flaws[other.path].is_fatal


async def test_what_the_database_of_a_store_has_and_the_disk_has_not_is_imported_again(
    any_nix: Nix, scratch_store: ScratchStore
) -> None:
    first, second = chain(2)
    location = StoreLocation.parse(scratch_store.url)
    async with NixStore.open(any_nix, location) as store:
        await store.protect([first.path, second.path])
        for made in (first, second):
            await put(store, made)
        assert (await presence(store, [second.path])).there == {first.path, second.path}
        file = scratch_store.real(first.path)
        file.parent.chmod(0o755)
        file.unlink()
        kept = await presence(store, [second.path])
        assert kept.broken == {first.path, second.path}
        assert kept.flaws[first.path].file == str(file)
        assert not await store.held([first.path])
        await put(store, first)
        assert file.read_bytes() == b"link-0"
        assert (await presence(store, [second.path])).there == {first.path, second.path}


@pytest.mark.parametrize("said", ["bzip2", "zstd", "xz", "none", "br", "lzip"])
async def test_what_a_narinfo_says_of_the_compression_matters_as_it_does_to_nix(
    any_nix: Nix, scratch_store: ScratchStore, tmp_path: Path, said: str
) -> None:
    made = text("made", content=b"x" * 1000)
    async with CacheDirectory.open(tmp_path) as cache:
        await put(cache, made)
        cache._checksums.record()
    narinfo = tmp_path / f"{made.path.hash_part}.narinfo"
    narinfo.write_text(narinfo.read_text().replace("Compression: zstd", f"Compression: {said}"))
    copy = ("nix", "copy", "--from", f"file://{tmp_path}", "--to", scratch_store.url)
    taken = run(any_nix, *copy, made.path, check=False).returncode == 0
    async with CacheDirectory.open(tmp_path, exclusive=False) as cache:
        cache.look_as(trusted_keys=(), is_old_nix=any_nix.version < (2, 9))
        assert (made.path in (await presence(cache, [made.path])).there) == taken
