"""``sync`` where there are limits: open files, file sizes, who may write, the clock, collection."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.published import read_by_nix
from rig.running import ScratchStore, collect_garbage, instantiate, run
from rig.shell import shell
from rig.small_disk import PAGE, SmallDisk

if TYPE_CHECKING:
    from rig.bench import Bench
    from rig.shell import Shell

    from mirror.nix.command import Nix

__all__ = ["shell"]

JUMPING = """
import datetime, itertools

class Jumping(datetime.datetime):
    hours = itertools.cycle((-40, 3, -7, 0))

    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(hours=next(cls.hours))

datetime.datetime = Jumping
"""
"""A module that every Python imports first: each look at the clock tells another time."""


def write_list(shell: Shell, level: str) -> None:
    """A list of one target that takes no evaluating."""
    attribute = "packages.x86_64-linux.curl"
    derivation = instantiate(
        shell.nix, shell.upstream.distribution, attribute, store=shell.evaluation
    )
    shell.write_list(f"it = {derivation.partition('!')[0]} level={level}")


@pytest.mark.parametrize("limit", [13, 18])
def test_too_low_a_limit_of_open_files_is_named(shell: Shell, limit: int) -> None:
    write_list(shell, "full")
    sync = shell.arguments("sync", "hosts.txt", "--to", "cache", "--jobs", "32")
    met = shell.run(["sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh", *sync], expect=3)
    assert "Too many open files" in met.stderr
    assert "raise the limit of open files (ulimit -n)" in met.stderr
    cache = shell.directory / "cache"
    if (cache / "nix-cache-info").exists():
        read_by_nix(shell.nix, cache)
    assert ", complete" in shell.run(sync).stdout


def test_a_read_only_file_system_is_named(shell: Shell) -> None:
    write_list(shell, "runtime")
    sync = shell.arguments("sync", "hosts.txt", "--to", "disk/cache")
    with SmallDisk.mount(shell.directory / "disk", "size=10m") as disk:
        disk.remount("ro")
        refused = shell.run([*disk.inside, *sync], expect=3).stderr
        assert "Read-only file system" in refused
        assert "remount it, or choose another destination" in refused
        disk.remount("rw")
        assert ", complete" in shell.run([*disk.inside, *sync]).stdout


@pytest.mark.parametrize(
    ("package", "destination"),
    [("atlas", "cache"), pytest.param("editor", "store", marks=pytest.mark.thorough)],
)
def test_a_full_directory_for_temporary_files_is_named(
    shell: Shell, package: str, destination: str
) -> None:
    """Of a source from its origin, an archive and a repository, there is first of all a copy."""
    derivation = instantiate(
        shell.nix,
        shell.upstream.distribution,
        f"packages.x86_64-linux.{package}.src",
        store=shell.evaluation,
    )
    shell.write_list(f"it = {derivation} level=runtime")
    (shell.directory / "nobody").mkdir()
    (shell.directory / "nobody/nix-cache-info").write_text("StoreDir: /nix/store\n")
    to = "cache" if destination == "cache" else shell.scratch_store("store").url
    nobody = f"file://{shell.directory}/nobody"
    sync = shell.arguments("sync", "hosts.txt", "--to", to, "--no-builder", cache=nobody)
    refusals = 0
    with SmallDisk.mount(shell.directory / "small", f"size={PAGE}") as disk:
        for doubled in range(20):
            disk.remount(f"size={PAGE << doubled}")
            met = subprocess.run(
                [*disk.inside, *sync],
                env=shell.environment(TMPDIR=str(disk.place)),
                capture_output=True,
                text=True,
                check=False,
            )
            if met.returncode == 0:
                break
            refusals += 1
            assert met.returncode in {1, 3}, met.stderr
            assert "Traceback" not in met.stderr
            assert "room" in met.stderr, met.stderr
            assert f"{disk.place}/" in met.stderr
            assert "name another directory with TMPDIR" in met.stderr
            if to == "cache":
                assert not list((shell.directory / "cache").glob("*.narinfo"))
            assert not list(disk.outside.iterdir())
    assert ", complete" in met.stdout
    assert refusals > 2


def test_no_date_decides_which_generation_is_the_newest(shell: Shell) -> None:
    (shell.directory / "clock").mkdir()
    (shell.directory / "clock/sitecustomize.py").write_text(JUMPING)
    path = f"{shell.directory}/clock:{shell.environment()['PYTHONPATH']}"
    sync = shell.arguments("sync", "hosts.txt", "--to", "cache")
    for number, level in enumerate(["runtime", "sources", "full"], start=1):
        write_list(shell, level)
        assert f"generation {number}, " in shell.run(sync, PYTHONPATH=path).stdout
        assert "nothing new" in shell.run(sync, PYTHONPATH=path).stdout
    prune = [*shell.command, "prune", "--to", "cache", "--keep", "1"]
    shell.run(prune, PYTHONPATH=path)
    (kept,) = shell.json([*shell.command, "roots", "--to", "cache", "--json"])["generations"]
    assert kept["number"] == 3
    read_by_nix(shell.nix, shell.directory / "cache")


async def test_nothing_that_was_kept_goes_while_garbage_is_collected(
    bench: Bench, any_nix: Nix
) -> None:
    # Where the name is longer than a socket's may be, Nix 2.8 loses touch with its collector.
    store = ScratchStore(Path(tempfile.mkdtemp(prefix="gc-", dir="/tmp")) / "s")
    bench.stores.append(store)
    run(any_nix, "nix-store", "--verify", store=store)
    is_over = threading.Event()
    rounds = []

    def collect() -> None:
        while not is_over.is_set():
            rounds.append(len(collect_garbage(any_nix, store)))

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        synced = await bench.sync(any_nix, "laptop = DEMO#laptop", store)
    finally:
        is_over.set()
        collector.join()
    assert synced.is_complete
    assert len(rounds) > 1
    (kept,) = synced.kept
    assert set(kept.paths) <= collect_garbage(any_nix, store)
    run(any_nix, "nix-store", "--verify", "--check-contents", store=store)
