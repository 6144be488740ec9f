"""What is private in a cache directory is its owner's alone, also after a run that was killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rig.made_paths import generation, put, text

from mirror.destinations import CacheDirectory, files
from mirror.destinations.records.privacy import holdings, private_paths
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.signing import SecretKey
from mirror.formats.verifier import Claim
from mirror.serve.library.cache_library import CacheLibrary
from mirror.serve.status.overview import Overviews
from mirror.sync.kept.clients import vouching_of
from mirror.sync.kept.completeness import as_they_are

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig.made_paths import Made

    from mirror.errors import DestinationError
    from mirror.serve.status.overview import Host

SECRET, OTHER = text("secret"), text("other")
# The same file under another name: one NAR for both.
SHARED, TWIN = text("shared", content=b"same"), text("twin", content=b"same")
ALL = (SECRET, OTHER, SHARED, TWIN)


class Killed(BaseException):
    """What a run does not see coming."""


def places(cache: Path, made: Made) -> tuple[Path, Path]:
    narinfo = cache / f"{made.path.hash_part}.narinfo"
    return narinfo, cache / parse_narinfo(narinfo.read_bytes()).url


def modes(cache: Path, made: Made) -> tuple[bool, bool]:
    """Whether everybody may read its narinfo, and its NAR."""
    narinfo, nar = (bool(each.stat().st_mode & stat.S_IROTH) for each in places(cache, made))
    return narinfo, nar


def given_paths(cache: Path) -> None:
    """Whoever may read a narinfo may read its NAR."""
    assert all(nar for narinfo, nar in (modes(cache, each) for each in ALL) if narinfo)


async def test_what_is_private_is_never_readable_by_others(tmp_path: Path) -> None:
    cache, key = tmp_path / "cache", SecretKey.generate("mirror-1")
    async with CacheDirectory.open(cache, signing_key=key) as destination:
        assert await destination.restrict({SECRET.path, SHARED.path}, {OTHER.path, TWIN.path})
        async with destination.stage(claim(SECRET)) as staging:
            staging.write(b"s")
            assert {each.stat().st_mode & 0o077 for each in staged(cache)} == {0}
        for each in ALL:
            await put(destination, each)
        assert modes(cache, SECRET) == (False, False)
        assert modes(cache, OTHER) == (True, True)
        assert modes(cache, SHARED) == (False, True), "what others have is no secret"
        assert modes(cache, TWIN) == (True, True)
        await destination.keep(replace(generation(ALL), private=(SECRET.path, SHARED.path)))
        destination.signatures.add(key, again=True, dry_run=False)
        newer = SecretKey.generate("mirror-2")
        destination.signatures.record_key(newer.public)
        assert destination.signatures.add(newer, again=True, dry_run=False).signed == len(ALL)
        assert modes(cache, SECRET) == (False, False)
    for file in places(cache, SECRET):
        file.unlink()
    async with CacheDirectory.open(cache, to_mend=True) as mending:
        await put(mending, SECRET)
        assert modes(cache, SECRET) == (False, False), "it is had again as it was"


@pytest.mark.parametrize("to_private", [True, False])
async def test_a_change_that_is_killed_at_any_step_is_completed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to_private: bool
) -> None:
    private, given = {SECRET.path, SHARED.path}, {OTHER.path, TWIN.path}
    everything = private | given
    for steps in itertools.count():
        cache = tmp_path / f"cache-{steps}"
        async with CacheDirectory.open(cache) as destination:
            await destination.restrict(*((set(), everything) if to_private else (private, given)))
            for each in ALL:
                await put(destination, each)
            wanted = (private, given) if to_private else (set(), everything)
            with monkeypatch.context() as patch:
                patched(patch, iter([None] * steps))
                try:
                    await destination.restrict(*wanted)
                    is_whole = True
                except Killed:
                    is_whole = False
            given_paths(cache)
            await destination.restrict(*wanted)
            expected = (False, False) if to_private else (True, True)
            assert modes(cache, SECRET) == expected, steps
            assert modes(cache, OTHER) == modes(cache, TWIN) == (True, True)
            assert modes(cache, SHARED) == (not to_private, True)
        if is_whole:
            break
    assert steps >= 3


def patched(patch: pytest.MonkeyPatch, steps: Iterator[None]) -> None:
    """Kill what changes modes or files after so many steps."""

    def dying(function: Any) -> Any:
        def step(*arguments: Any, **more: Any) -> Any:
            if next(steps, Killed) is Killed:
                raise Killed
            return function(*arguments, **more)

        return step

    patch.setattr(files, "replace_file", dying(files.replace_file))
    patch.setattr(Path, "chmod", dying(Path.chmod))


def test_what_one_target_gives_is_private_for_none() -> None:
    first = replace(generation([SECRET, OTHER]), private=(SECRET.path,))
    second = replace(generation([SECRET, TWIN], target="other"), private=(TWIN.path,))
    assert private_paths(holdings([first])) == {SECRET.path}
    assert private_paths(holdings([first, second])) == {TWIN.path}
    # Of one target, the last word counts; of what no word is known says nothing.
    given = replace(first, private=(), number=1)
    assert private_paths(holdings([replace(first, number=2), given])) == {SECRET.path}
    assert private_paths(holdings([replace(first, number=2), replace(given, private=None)])) == {
        SECRET.path
    }


def claim(made: Made) -> Claim:
    return Claim(info=made.info, made_here=False)


def staged(cache: Path) -> list[Path]:
    return list((cache / ".prefetch/staging").iterdir())


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user can look at."""
    with tempfile.TemporaryDirectory(prefix="prefetch-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    os.seteuid(12345)
    try:
        yield
    finally:
        os.seteuid(0)


async def keep_one_private(cache: Path) -> None:
    async with CacheDirectory.open(cache) as destination:
        await destination.restrict({SECRET.path}, {OTHER.path})
        for each in (SECRET, OTHER):
            await put(destination, each)
        await destination.keep(replace(generation([SECRET, OTHER]), private=(SECRET.path,)))


async def hosts(destination: CacheDirectory) -> tuple[Host, ...]:
    """What the status page of the directory is about."""
    async with CacheLibrary.open(destination, destination.directory) as library:
        return (await Overviews(library, pytest.fail).whole()).hosts


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("lost", [None, SECRET, OTHER], ids=["nothing", "private", "given"])
async def test_another_user_is_told_what_is_missing(
    open_directory: Path, lost: Made | None
) -> None:
    cache = open_directory / "cache"
    await keep_one_private(cache)
    if lost is not None:
        places(cache, lost)[0].unlink()
    with another_user():
        async with CacheDirectory.open(cache, exclusive=False) as destination:
            generations = await as_they_are(await destination.generations(), destination)
            unreadable: list[DestinationError] = []
            vouching = await vouching_of(generations, destination, unreadable.append)
            (host,) = await hosts(destination)
    missing = () if lost is None else (lost.path,)
    assert generations[0].missing == missing
    assert not unreadable
    assert not vouching["pi"].refused
    assert host.newest is not None
    assert host.newest.missing == missing


async def test_the_page_misses_what_is_private_too(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    await keep_one_private(cache)
    places(cache, SECRET)[1].unlink()
    async with CacheDirectory.open(cache, exclusive=False) as destination:
        (host,) = await hosts(destination)
    assert host.newest is not None
    assert host.newest.missing == (SECRET.path,)
