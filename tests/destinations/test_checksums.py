"""The record of small files: true at every instant, and readable by stock tools."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rig.killed import Launcher
from rig.made_paths import chain, generation, input_addressed, put
from rig.nixes import environment

from mirror.destinations import CacheDirectory
from mirror.destinations.cache.at_rest.inventory import AtRest
from mirror.destinations.cache.checksums import read_checksums
from mirror.destinations.cache.layout import CHECKSUMS, RETIRED
from mirror.destinations.cache.sweep import Sweep
from mirror.formats.signing import SecretKey

if TYPE_CHECKING:
    from pathlib import Path

    from rig.made_paths import Made

    from mirror.destinations.verified import Damage


def damages(cache: Path) -> list[Damage]:
    at_rest = AtRest(cache)
    survey = at_rest.survey()
    found = list(survey.damages)
    for file in survey.narinfos:
        path = at_rest.path(file)
        for _ in path.check():
            pass
        found += path.damages
    return found


def unproven(cache: Path) -> int:
    at_rest = AtRest(cache)
    survey = at_rest.survey()
    paths = [at_rest.path(file) for file in survey.narinfos]
    for path in paths:
        for _ in path.check():
            pass
    return survey.unproven + sum(path.is_unproven for path in paths)


async def fill(cache: Path, *more: Made, key: SecretKey | None = None) -> None:
    async with CacheDirectory.open(cache, signing_key=key) as directory:
        everything = [*chain(2), *more]
        for made in everything:
            await put(directory, made)
        await directory.keep(generation(everything))


def checked(cache: Path) -> list[str]:
    """The files that `sha256sum` finds to be as they are recorded, which are all of them."""
    check = ["sha256sum", "--check", "--strict", CHECKSUMS]
    told = subprocess.run(check, cwd=cache, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return sorted(line.partition(":")[0] for line in told.stdout.splitlines())


async def test_sha256sum_reads_it(tmp_path: Path) -> None:
    await fill(tmp_path, key=SecretKey.generate("mirror-1"))
    everything = ["nix-cache-info", "public-keys"]
    everything += [file.name for file in tmp_path.glob("*.narinfo")]
    assert checked(tmp_path) == sorted(everything)


async def test_sha256sum_reads_it_also_once_others_have_signed(tmp_path: Path) -> None:
    await fill(tmp_path, input_addressed("built"))
    for name in ("mirror-1", "mirror-2"):
        key = SecretKey.generate(name)
        async with CacheDirectory.open(tmp_path, signing_key=key) as directory:
            assert "public-keys" in checked(tmp_path)
            assert directory.signatures.add(key, again=True, dry_run=False).signed > 0
            checked(tmp_path)
    async with CacheDirectory.open(tmp_path) as directory:
        assert directory.signatures.remove_old(dry_run=False).paths > 0
    checked(tmp_path)


async def test_what_a_cache_of_before_has_is_recorded_with_the_next_generation(
    tmp_path: Path,
) -> None:
    await fill(tmp_path)
    (tmp_path / CHECKSUMS).unlink()
    files = len(list(tmp_path.glob("*.narinfo"))) + 1
    assert unproven(tmp_path) == files
    assert damages(tmp_path) == []
    async with CacheDirectory.open(tmp_path) as directory:
        await directory.keep(generation(chain(1), number=2))
    assert unproven(tmp_path) == 0


async def test_what_is_damaged_is_not_recorded_as_right(tmp_path: Path) -> None:
    await fill(tmp_path)
    file = next(iter(sorted(tmp_path.glob("*.narinfo"))))
    whole = file.read_bytes()
    file.write_bytes(whole + b"Deriver: unknown-deriver\n")
    async with CacheDirectory.open(tmp_path) as directory:
        await directory.keep(generation(chain(1), number=2))
    assert [each.file for each in damages(tmp_path)] == [file.name]
    (tmp_path / CHECKSUMS).write_bytes((tmp_path / CHECKSUMS).read_bytes() + b"\n")
    assert {each.file for each in damages(tmp_path)} == {file.name, CHECKSUMS}
    async with CacheDirectory.open(tmp_path) as directory:
        await directory.keep(generation(chain(1), number=3))
    assert [each.file for each in damages(tmp_path)] == [file.name]


async def test_it_knows_what_is_published_and_what_is_retired_of_a_path(tmp_path: Path) -> None:
    made = input_addressed("built")
    await fill(tmp_path, made, key=SecretKey.generate("mirror-1"))
    name = f"{made.path.hash_part}.narinfo"
    retired = tmp_path / RETIRED / name
    retired.parent.mkdir()
    (tmp_path / name).replace(retired)
    assert damages(tmp_path) == []
    async with CacheDirectory.open(tmp_path, signing_key=SecretKey.generate("two")) as directory:
        await put(directory, made)
        assert retired.read_bytes() != (tmp_path / name).read_bytes()
        assert damages(tmp_path) == []
        await directory.keep(generation([made], number=2))
    assert damages(tmp_path) == []
    assert len(read_checksums(tmp_path).lines[name]) == 2
    sweep = Sweep(tmp_path, live=[made.path], targets=["pi"], now=datetime.now(UTC))
    sweep.run(grace=timedelta(0))
    async with CacheDirectory.open(tmp_path) as directory:
        await directory.keep(generation([made], number=3))
    assert len(read_checksums(tmp_path).lines[name]) == 1
    assert unproven(tmp_path) == 0
    assert damages(tmp_path) == []


async def test_no_line_is_wrong_wherever_signing_is_killed(tmp_path: Path) -> None:
    before, cache = tmp_path / "before", tmp_path / "cache"
    old = SecretKey.generate("old")
    await fill(before, input_addressed("built"), key=old)
    (tmp_path / "new").write_text(f"{SecretKey.generate('new')}\n")
    runs = {
        "sign": ["sign", "--to", "cache", "--signing-key", "new", "--all"],
        "unsign": ["prune", "--to", "cache", "--old-signatures"],
    }
    with Launcher.start(cache, cwd=tmp_path, environment=environment(tmp_path / "home")) as program:
        for words in runs.values():
            shutil.rmtree(cache, ignore_errors=True)
            shutil.copytree(before, cache)
            whole = program.run(words)
            assert damages(cache) == []
            after = tmp_path / f"after-{words[0]}"
            shutil.copytree(cache, after)
            assert len(whole.steps) > 10
            for step in whole.each_step:
                shutil.rmtree(cache)
                shutil.copytree(before, cache)
                assert program.run(words, kill_at=step).was_killed
                assert damages(cache) == [], step
            before = after
