"""The cache directory: its files, and that stock Nix reads them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import lzma
import os
import shutil
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.made_paths import Made, chain, generation, input_addressed, put, put_as, text

from mirror.destinations import files
from mirror.destinations.cache.directory import CacheDirectory
from mirror.errors import DestinationError
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import NarInfo, parse_narinfo
from mirror.formats.signing import SecretKey, TrustedKeys, fingerprint
from mirror.formats.verifier import Claim

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation

COMMITS_FOR_EVER = """
import asyncio, pathlib, sys
from rig.made_paths import put, text
from mirror.destinations.cache.directory import CacheDirectory

async def main():
    async with CacheDirectory.open(pathlib.Path(sys.argv[1])) as cache:
        previous = ()
        for number in range(1_000_000):
            made = text(f"link-{number}", *previous)
            await put(cache, made)
            previous = (made,)

asyncio.run(main())
"""


def narinfo_of(cache: Path, made: Made) -> NarInfo:
    return parse_narinfo((cache / f"{made.path.hash_part}.narinfo").read_bytes())


def test_a_file_system_without_locks_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DestinationError) as raised, files.locked(tmp_path / "lock", "it"):
        pass
    assert str(raised.value) == f"{tmp_path}/lock: {os.strerror(errno.ENOLCK)}"
    assert "has no locks" in str(raised.value.hint)


def test_a_part_on_another_file_system_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DestinationError) as raised, files.explained(tmp_path):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(tmp_path / "nar"))
    assert "on one file system" in str(raised.value.hint)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def upstream(made: Made, key: SecretKey) -> tuple[Claim, bytes]:
    """The claim and the bytes of a cache that compresses with xz and signs."""
    signed = replace(made.info, signatures=(key.sign(fingerprint(made.info)),))
    return Claim(info=signed, compression="xz"), lzma.compress(made.nar)


async def test_upstreams_file_and_signature_are_kept_as_they_are(tmp_path: Path) -> None:
    made = input_addressed("hello")
    claim, compressed = upstream(made, SecretKey.generate("upstream"))
    async with CacheDirectory.open(tmp_path, signing_key=SecretKey.generate("own")) as cache:
        await put_as(cache, claim, compressed)
    entry = narinfo_of(tmp_path, made)
    digest = Hash.of(compressed)
    assert entry == NarInfo(
        info=claim.info,
        url=f"nar/{digest.base32}.nar.xz",
        compression="xz",
        file_hash=digest,
        file_size=len(compressed),
    )
    assert (tmp_path / entry.url).read_bytes() == compressed


async def test_what_is_made_here_is_compressed_and_signed(tmp_path: Path) -> None:
    made = text("zeros", content=bytes(100_000))
    key = SecretKey.generate("own")
    async with CacheDirectory.open(tmp_path, signing_key=key) as cache:
        await put(cache, made)
    entry = narinfo_of(tmp_path, made)
    data = (tmp_path / entry.url).read_bytes()
    assert (entry.compression, entry.file_hash, entry.file_size) == (
        "zstd",
        Hash.of(data),
        len(data),
    )
    assert len(data) < 1_000
    assert TrustedKeys([key.public]).verify(entry.info) == key.public


async def test_thousands_of_paths_are_looked_up_at_once(tmp_path: Path) -> None:
    held = [text(f"held-{number}") for number in range(3)]
    others = [text(f"absent-{number}").path for number in range(2_000)]
    async with CacheDirectory.open(tmp_path / "cache") as cache:
        for made in held:
            await put(cache, made)
        found = await cache.held([*others, *(made.path for made in held)])
        assert found == {made.path: narinfo_of(tmp_path / "cache", made).info for made in held}
        shutil.rmtree(tmp_path / "cache")
        assert await cache.held(others) == {}


async def test_paths_with_the_same_nar_share_its_file(tmp_path: Path) -> None:
    one, other = text("one", content=b"same"), text("other", content=b"same")
    async with CacheDirectory.open(tmp_path) as cache:
        await put(cache, one)
        await put(cache, other)
        assert len(await cache.held([one.path, other.path])) == 2
    assert len(list((tmp_path / "nar").iterdir())) == 1


@pytest.mark.parametrize("damage", ["no NAR", "short NAR", "bad narinfo", "pipe", "huge", "none"])
async def test_what_is_damaged_is_not_held_until_it_is_committed_again(
    tmp_path: Path, damage: str
) -> None:
    made = text("hello")
    async with CacheDirectory.open(tmp_path) as cache:
        await put(cache, made)
    nar = tmp_path / narinfo_of(tmp_path, made).url
    entry = tmp_path / f"{made.path.hash_part}.narinfo"
    match damage:
        case "no NAR":
            nar.unlink()
        case "short NAR":
            nar.write_bytes(nar.read_bytes()[:-1])
        case "bad narinfo":
            entry.write_bytes(entry.read_bytes()[:50])
        case "pipe":
            entry.unlink()
            os.mkfifo(entry)
        case "huge":
            os.truncate(entry, 1 << 40)
        case _:
            entry.unlink()
    async with CacheDirectory.open(tmp_path) as cache:
        assert not await cache.held([made.path])
        await put(cache, made)
        assert await cache.held([made.path])


async def test_everyone_may_read_whatever_the_umask(tmp_path: Path) -> None:
    made = text("hello")
    before = os.umask(0o077)
    try:
        async with CacheDirectory.open(tmp_path / "srv/cache") as cache:
            await put(cache, made)
            await cache.keep(generation([made]))
    finally:
        os.umask(before)
    for path in [tmp_path / "srv", *(tmp_path / "srv").rglob("*")]:
        expected = 0o755 if path.is_dir() else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


async def test_nothing_is_left_over(tmp_path: Path) -> None:
    made = text("hello")
    leftover = tmp_path / ".prefetch/staging/killed.nar"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half a NAR")
    async with CacheDirectory.open(tmp_path) as cache:
        assert not leftover.exists()
        async with cache.stage(Claim(info=made.info)) as staging:
            staging.write(os.urandom(1 << 20))
            assert list(leftover.parent.iterdir())
        assert not list(leftover.parent.iterdir())
        assert not list((tmp_path / "nar").iterdir())
    assert names_in(tmp_path) == [".prefetch", "generations", "nar", "nix-cache-info"]


async def test_looking_makes_nothing(tmp_path: Path) -> None:
    async with CacheDirectory.open(tmp_path / "cache", exclusive=False) as cache:
        assert not await cache.held([text("hello").path])
        assert not await cache.generations()
    assert not (tmp_path / "cache").exists()


async def test_other_directories_are_refused(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/to-mother.txt").touch()
    (tmp_path / "a-file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/nix-cache-info").write_text("StoreDir: /gnu/store\n")
    for name, problem in [
        ("letters", "not a binary cache"),
        ("a-file", "a-file"),
        ("a-file/below", "a-file"),
        ("other", "/gnu/store"),
    ]:
        with pytest.raises(DestinationError, match=problem):
            async with CacheDirectory.open(tmp_path / name):
                pass
    assert names_in(tmp_path / "letters") == ["to-mother.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_failures_name_the_file_and_say_what_to_do(number: int) -> None:
    with (
        pytest.raises(DestinationError, match="/srv/cache: ") as caught,
        files.explained(Path("/srv/cache")),
    ):
        raise OSError(number, os.strerror(number))
    assert caught.value.hint


@pytest.mark.parametrize(("mode", "is_enough"), [(0o755, True), (0o600, False)])
def test_where_modes_are_fixed_it_is_enough_that_all_may_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, *, is_enough: bool
) -> None:
    """As on FAT, where a file has the mode that all have."""

    def fchmod(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with (tmp_path / "made").open("wb") as file:
        os.fchmod(file.fileno(), mode)
        monkeypatch.setattr(os, "fchmod", fchmod)
        expected = contextlib.nullcontext() if is_enough else pytest.raises(PermissionError)
        with expected:
            files.complete(file)


def test_what_is_in_the_way_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    there = pytest.raises(DestinationError, match="/there: ")
    with there as caught, files.explained(tmp_path):
        files.replace_file(tmp_path / "there", b"", temporaries=tmp_path)
    assert "remove it" in str(caught.value.hint)


async def test_an_unreadable_manifest_is_named(tmp_path: Path) -> None:
    made = text("hello")
    async with CacheDirectory.open(tmp_path) as cache:
        await put(cache, made)
        await cache.keep(generation([made]))
        manifest = tmp_path / "generations/pi/1.json"
        for content in ("{}", "[", json.dumps({"version": 99})):
            manifest.write_text(content)
            with pytest.raises(DestinationError, match=r"pi/1\.json"):
                await cache.generations()


async def test_a_killed_run_leaves_only_complete_closures(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here.parent), str(here.parents[1])]),
    }
    for wanted in (5, 40, 90):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", COMMITS_FOR_EVER, str(cache), env=environment
        )
        while process.returncode is None and len(list(cache.glob("*.narinfo"))) < wanted:  # noqa: ASYNC110 - not ours to signal
            await asyncio.sleep(0.002)
        process.kill()
        await process.wait()
        entries = [parse_narinfo(path.read_bytes()) for path in cache.glob("*.narinfo")]
        assert len(entries) >= wanted
        async with CacheDirectory.open(cache) as reopened:
            held = await reopened.held([entry.info.path for entry in entries])
            assert len(held) == len(entries)
            assert is_closed(entry.info.references for entry in entries) <= set(held)
            assert not list((cache / ".prefetch/staging").iterdir())


def is_closed(references: Iterable[Iterable[str]]) -> set[str]:
    return {path for each in references for path in each}


async def test_nix_copies_from_it(tmp_path: Path, nix: Nix, store: StoreLocation) -> None:
    key, own = SecretKey.generate("upstream"), SecretKey.generate("own")
    links = chain(3)
    signed, built = input_addressed("signed"), input_addressed("built")
    cache = tmp_path / "cache"
    async with CacheDirectory.open(cache, signing_key=own) as destination:
        for made in [*links, built]:
            await put(destination, made)
        await put_as(destination, *upstream(signed, key))
        await destination.keep(generation([*links, signed, built]))
    for made in (links[-1], signed, built):
        completed = await nix.run(
            ["nix", "copy", "--from", f"file://{cache}", "--to", store.url, made.path],
            environment={
                "NIX_CONFIG": f"{nix.environment['NIX_CONFIG']}\ntrusted-public-keys = "
                f"{key.public} {own.public}\n"
            },
        )
        assert completed.returncode == 0, completed.stderr
    verified = await nix.run(["nix-store", "--verify", "--check-contents", "--store", store.url])
    assert verified.returncode == 0, verified.stderr
    assert store.real(links[0].path).read_bytes() == b"link-0"


@pytest.mark.parametrize("name", [".prefetch", ".prefetch/staging"])
async def test_nothing_is_removed_where_a_link_leads(tmp_path: Path, name: str) -> None:
    cache, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    async with CacheDirectory.open(cache):
        pass
    (elsewhere / "staging").mkdir(parents=True)
    kept = [elsewhere / "staging/file", elsewhere / "file"]
    for file in kept:
        file.write_text("somebody's")
    shutil.rmtree(cache / name, ignore_errors=True)
    (cache / name).symlink_to(elsewhere)
    with pytest.raises(DestinationError, match=f"{name} is a link"):
        async with CacheDirectory.open(cache):
            pass
    assert [file.read_text() for file in kept] == ["somebody's"] * 2
    (cache / name).unlink()
    async with CacheDirectory.open(cache):
        pass
