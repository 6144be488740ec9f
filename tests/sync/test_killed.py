"""What changes a destination, killed at each of its steps: what readers see, and the next run.

That a directory is sound is seen by a walk after each kill, which Nix itself repeats on a part of
them: it takes longer than all the rest. With PREFETCH_EVERY_KILL=1 it does so after each, and a
sync is killed at every step, else at some of each kind.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pytest
from rig.killed import INTO_A_PIPE, Launcher
from rig.made_paths import Made, chain, generation, put, text
from rig.nixes import environment
from rig.running import collect_garbage, instantiate, run
from rig.shell import shell

from mirror.destinations import CacheDirectory, RunRecord
from mirror.destinations.manifest import MANIFEST
from mirror.destinations.sweep import RETIRED, SERVING
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rig.running import ScratchStore
    from rig.shell import Shell

    from mirror.formats.narinfo import NarInfo
    from mirror.nix.command import Nix

__all__ = ["shell"]

EVERY_KILL: Final = os.environ.get("PREFETCH_EVERY_KILL") == "1"
ON_OPEN_FILES: Final = ("os.chmod", "os.fsync", "os.pwrite", "os.truncate", "os.write")
STORE_KILLS: Final = 4
LEFT_TO_NIX: Final = 1 if EVERY_KILL else 6
"""Of so many kills, Nix looks at what one left."""


async def test_prune_can_be_killed_at_every_step(tmp_path: Path, nix_stable: Nix) -> None:
    before, cache = tmp_path / "before", tmp_path / "cache"
    kept = await fill(before)
    prune = ["prune", "hosts.txt", "--to", "cache", "--keep", "1", "--removed"]
    (tmp_path / "hosts.txt").write_text("pi = .#pi\n")
    variables = environment(tmp_path / "home")
    with Launcher.start(cache, cwd=tmp_path, environment=variables) as program:
        start_from(before, cache)
        whole = program.run(prune)
        assert whole.code == 0, whole.output
        assert narinfos(cache).keys() == {made.path for made in kept}
        expected = tree(cache)
        assert len(whole.steps) > 50
        for number in range(1, len(whole.steps) + 1):
            start_from(before, cache)
            killed = program.run(prune, kill_at=number)
            assert killed.was_killed, killed.output
            assert killed.steps == whole.steps[:number]
            inspect(cache)
            if number % LEFT_TO_NIX == 0:
                ask_nix(nix_stable, cache)
            again = program.run(prune)
            assert again.code == 0, again.output
            assert tree(cache) == expected, killed.steps[-1]
    ask_nix(nix_stable, cache)


async def test_prune_beside_a_server_can_be_killed_at_every_step(tmp_path: Path) -> None:
    before, cache = tmp_path / "before", tmp_path / "cache"
    await fill(before)
    prune = ["prune", "--to", "cache", "--keep", "1"]
    variables = environment(tmp_path / "home")
    with Launcher.start(cache, cwd=tmp_path, environment=variables) as program:
        number, was_killed = 0, True
        while was_killed:
            number += 1
            start_from(before, cache)
            had = narinfos(cache)
            with (cache / SERVING).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH)
                was_killed = program.run(prune, kill_at=number).was_killed
                inspect(cache)
                again = program.run(prune)
                inspect(cache)
                served = narinfos(cache) | narinfos(cache / RETIRED)
                assert served.keys() == had.keys(), "a client can go on"
                assert "held back for clients of the running server" in again.output
    assert number > 20


@pytest.mark.parametrize(
    ("earlier", "package", "level"), [(None, "curl", "runtime"), ("curl", "compiler", "rebuild")]
)
def test_sync_can_be_killed_at_each_kind_of_step(
    shell: Shell, earlier: str | None, package: str, level: str
) -> None:
    before, cache = shell.directory / "before", shell.directory / "cache"
    shell.run([*shell.command, "key", "generate", "mirror-1", "secret"])
    words = ("sync", "hosts.txt", "--to", "cache", "--jobs", "1")
    sync = shell.arguments(*words)[len(shell.command) :]
    if earlier is not None:
        write_list(shell, earlier, "runtime")
        shell.run([*shell.command, *sync])
        cache.rename(before)
    write_list(shell, package, level)
    sync += ["--signing-key", "secret"]
    with Launcher.start(cache, cwd=shell.directory, environment=shell.environment()) as program:
        start_from(before, cache)
        whole = program.run(sync)
        assert whole.code == 0, whole.output
        expected = published(cache)
        for number in of_each_kind(whole.steps):
            start_from(before, cache)
            killed = program.run(sync, kill_at=number)
            assert killed.was_killed, killed.output
            inspect(cache)
            assert published(before).items() <= published(cache).items()
            assert earlier is None or (cache / "generations/it/1.json").exists()
            if number % LEFT_TO_NIX == 0 and (cache / "nix-cache-info").exists():
                ask_nix(shell.nix, cache)
            again = program.run(sync)
            assert again.code == 0, f"{killed.steps[-1]}: {again.output}"
            assert published(cache) == expected, killed.steps[-1]
            assert not list((cache / ".prefetch").glob("staging/*"))
            inspect(cache)


CALLS: Final = {
    "open": "open openat creat",
    "os.chmod": "chmod fchmodat fchmod fchmodat2",
    "os.chown": "chown lchown fchown fchownat",
    "os.fsync": "fsync fdatasync",
    "os.link": "link linkat",
    "os.mkdir": "mkdir mkdirat",
    "os.pwrite": "pwrite64",
    "os.remove": "unlink unlinkat",
    "os.rename": "rename renameat renameat2",
    "os.rmdir": "rmdir",
    "os.symlink": "symlink symlinkat",
    "os.truncate": "truncate ftruncate",
    "os.utime": "utimensat utime utimes futimesat",
    "os.write": "write",
    "": "writev pwritev pwritev2 sendfile copy_file_range splice fallocate mknod mknodat",
}
"""Which system calls change files, by what Python calls them; the last ones are used by nobody."""


async def test_signing_can_be_killed_at_each_kind_of_step(tmp_path: Path, nix_stable: Nix) -> None:
    before, cache = tmp_path / "before", tmp_path / "cache"
    await fill(before)
    variables = environment(tmp_path / "home")
    with Launcher.start(cache, cwd=tmp_path, environment=variables) as program:
        for number in (1, 2):
            program.run(["key", "generate", f"mirror-{number}", f"secret-{number}"])
        start_from(before, cache)
        assert program.run(["sign", "--to", "cache", "--signing-key", "secret-1"]).code == 0
        shutil.rmtree(before)
        cache.rename(before)
        start_from(before, cache)
        commands = [
            ["sign", "--to", "cache", "--signing-key", "secret-2", "--all"],
            ["prune", "--to", "cache", "--keep", "9", "--old-signatures"],
        ]
        for command in commands:
            start_from(before, cache)
            paths = narinfos(cache).keys()
            whole = program.run(command)
            assert whole.code == 0, whole.output
            expected = published(cache)
            for number in of_each_kind(whole.steps):
                start_from(before, cache)
                assert program.run(command, kill_at=number).was_killed
                inspect(cache)
                assert narinfos(cache).keys() == paths
                assert all(each.info.signatures for each in narinfos(cache).values())
                if number % LEFT_TO_NIX == 0:
                    ask_nix(nix_stable, cache)
                again = program.run(command)
                assert again.code == 0, again.output
                assert published(cache) == expected
            shutil.rmtree(before)
            cache.rename(before)


def test_sync_into_a_store_can_be_killed_at_its_steps(shell: Shell) -> None:
    store = shell.scratch_store("store")
    write_list(shell, "curl", "runtime")
    sync = shell.arguments("sync", "hosts.txt", "--to", store.url, "--jobs", "1")
    sync = sync[len(shell.command) :]
    variables = shell.environment(XDG_STATE_HOME=str(shell.directory / "state"))
    with Launcher.start(shell.directory, cwd=shell.directory, environment=variables) as program:
        whole = program.run(sync)
        assert whole.code == 0, whole.output
        assert whole.steps.count(INTO_A_PIPE) > 10
        expected = kept_in(shell.nix, store)
        apart = 1 if EVERY_KILL else len(whole.steps) // STORE_KILLS
        for number in range(1, len(whole.steps) + 1, apart):
            store.remove()
            shutil.rmtree(shell.directory / "state")
            killed = program.run(sync, kill_at=number)
            assert killed.was_killed, killed.output
            schema = store.directory / "nix/var/nix/db/schema"
            if schema.exists() and schema.stat().st_size:
                run(shell.nix, "nix-store", "--verify", "--check-contents", store=store)
                is_kept = bool(list(store.directory.glob("nix/var/nix/gcroots/prefetch/it-1")))
                if is_kept:
                    assert kept_in(shell.nix, store) == expected
            again = program.run(sync)
            assert again.code == 0, f"{killed.steps[-1]}: {again.output}"
            assert kept_in(shell.nix, store) == expected, killed.steps[-1]


def kept_in(nix: Nix, store: ScratchStore) -> set[str]:
    """What is left of a store once its garbage is collected; a manifest is not: it has a date."""
    paths = collect_garbage(nix, store)
    run(nix, "nix-store", "--verify", "--check-contents", store=store)
    return {path for path in paths if "-prefetch-" not in path}


async def test_every_effect_that_the_kernel_sees_is_a_step(shell: Shell) -> None:
    cache, log = shell.directory / "cache", shell.directory / "strace"
    await fill(cache)
    shell.run([*shell.command, "key", "generate", "mirror-1", "secret"])
    write_list(shell, "curl", "runtime")
    to = ("--to", "cache")
    sync = [*shell.arguments("sync", "hosts.txt", *to)[len(shell.command) :]]
    calls = " ".join(CALLS.values()).split()
    traced = ",".join(f"?{call}" for call in calls)  # those that this kernel has
    strace = ["strace", "-f", "-qq", "-y", "-s0", f"-o{log}", f"-etrace={traced}"]
    events = {call: event for event, names in CALLS.items() for call in names.split()}
    with Launcher.start(
        cache, cwd=shell.directory, environment=shell.environment(), before=strace
    ) as program:
        runs = [
            program.run([*sync, "--signing-key", "secret"]),
            program.run(["sign", *to, "--signing-key", "secret"]),
            program.run(["prune", *to, "--keep", "1"]),
        ]
    assert [each.code for each in runs] == [0, 0, 0], [each.output for each in runs]
    steps = Counter(
        step.partition(" ")[0] for each in runs for step in each.steps if step != INTO_A_PIPE
    )
    seen = Counter(events[call] for call in effects(log.read_text(), cache))
    assert seen == steps


def start_from(before: Path, cache: Path) -> None:
    shutil.rmtree(cache, ignore_errors=True)
    if before.exists():
        shutil.copytree(before, cache)


async def fill(cache: Path) -> list[Made]:
    """Four generations of two targets, and what else a prune removes; what one of them needs."""
    base, first, second, gone = chain(2, "base"), chain(3, "one"), chain(2, "two"), chain(2, "gone")
    shared = [text("shared-1", content=b"same"), text("shared-2", content=b"same")]
    newest = [*base, text("newest", base[-1]), shared[0]]
    async with CacheDirectory.open(cache) as destination:
        for made in [*base, *first, *second, *gone, *shared, newest[2]]:
            await put(destination, made)
        await destination.keep(generation([*base, *first, shared[1]]))
        await destination.keep(generation([*base, *second, *shared], number=2))
        await destination.keep(generation(newest, number=3))
        await destination.keep(generation(gone, target="gone"))
        for target in ("gone", "pi"):
            await destination.record_run(
                RunRecord(
                    target=target,
                    finished=datetime(2026, 11, 24, tzinfo=UTC),
                    number=1,
                    is_complete=True,
                )
            )
    for file in cache.glob("*.narinfo"):
        os.utime(file, (0, 0))
    (cache / "nar" / f"{'1' * 52}.nar.zst").write_bytes(b"a NAR whose narinfo never came")
    (cache / "generations/emptied").mkdir()
    for name in ("receipts/gone.json", "receipts/tmpabcd1234"):
        (cache / name).parent.mkdir(exist_ok=True)
        (cache / name).touch()
    os.utime(cache / "receipts/tmpabcd1234", (0, 0))
    return newest


def effects(log: str, directory: Path) -> Iterator[str]:
    """The system calls of strace's log that changed something below a directory."""
    for line in log.splitlines():
        found = re.fullmatch(r"\d+ +(\w+)\((.*)\) += .*", line)
        if found is None or f"{directory}/" not in f"{found[2]}/".replace('"', "/").replace(
            ">", "/"
        ):
            continue
        if found[1] == "openat" and not re.search("O_WRONLY|O_RDWR|O_CREAT", found[2]):
            continue
        yield "rmdir" if "AT_REMOVEDIR" in found[2] else found[1]


def write_list(shell: Shell, package: str, level: str) -> None:
    """A list of one target that takes no evaluating: each run is to be short."""
    attribute = f"packages.x86_64-linux.{package}"
    derivation = instantiate(
        shell.nix, shell.upstream.distribution, attribute, store=shell.evaluation
    )
    shell.write_list(f"it = {derivation.partition('!')[0]} level={level}")


def of_each_kind(steps: Sequence[str]) -> list[int]:
    """The numbers of the first two and the last step of each kind, of which paths have many."""
    if EVERY_KILL:
        return list(range(1, len(steps) + 1))
    kinds: dict[str, list[int]] = {}
    for number, step in enumerate(steps, start=1):
        event, _, path = step.partition(" ")
        kind = f"{event} {path.rpartition('/')[0]} {path.rpartition('.')[2][:8]}"
        if ".prefetch/staging/" in path or "nar/" in path:
            kind = f"{event} {path.rpartition('/')[0]}"
        kinds.setdefault(kind, []).append(number)
    for kind, found in kinds.items():
        if kind.startswith(ON_OPEN_FILES):
            del found[1:]  # nobody sees what has no name yet
    return sorted({number for found in kinds.values() for number in (*found[:2], found[-1])})


def narinfos(directory: Path) -> dict[str, NarInfo]:
    found = (parse_narinfo(path.read_bytes()) for path in directory.glob("*.narinfo"))
    return {entry.info.path: entry for entry in found}


def inspect(cache: Path) -> None:
    """See that every reader finds whole closures, and that what is kept is complete."""
    published, retired = narinfos(cache), narinfos(cache / RETIRED)
    for entries, among in ((published, published), (retired, retired | published)):
        for entry in entries.values():
            assert Hash.of((cache / entry.url).read_bytes()) == entry.file_hash
            assert set(entry.info.references) <= among.keys()
    for file in cache.glob("generations/*/*.json"):
        assert set(MANIFEST.parse(file.read_bytes()).paths) <= published.keys()


def ask_nix(nix: Nix, cache: Path) -> None:
    """Have Nix read every closure and verify every NAR."""
    store = ("--store", f"file://{cache}")
    listed = run(nix, "nix", "path-info", *store, "--all", "--recursive").stdout.split()
    assert set(listed) == narinfos(cache).keys()
    run(nix, "nix", "store", "verify", *store, "--all", "--no-trust")
    for made in ("log", "realisations"):  # by Nix, in every cache that it opens
        (cache / made).rmdir()


def published(cache: Path) -> dict[str, bytes]:
    files = [*cache.glob("*.narinfo"), *cache.glob("nar/*"), *cache.glob("public-keys")]
    return {str(file.relative_to(cache)): file.read_bytes() for file in files}


def tree(cache: Path) -> dict[str, bytes | None]:
    """All there is, but for the lock, which may say who held it."""
    return {
        str(path.relative_to(cache)): path.read_bytes() if path.is_file() else None
        for path in cache.rglob("*")
        if path != cache / ".prefetch/lock"
    }
