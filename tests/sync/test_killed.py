"""What changes a destination, killed at its steps: what readers see, and the next run.

Steps of every kind are tried, and with ``PREFETCH_STEPS=all`` each step. After each kill the whole
directory is looked at, and after one of ten by stock Nix. The next run has to go on from each,
which it is made to do once for all kills that left the same (:func:`rig.changes.state`).
"""

from __future__ import annotations

import fcntl
import re
import shutil
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest
from rig.changes import (
    CHANGES,
    ask_nix,
    content,
    fill,
    narinfos,
    state,
    write_list,
)
from rig.changes import prune as pruning
from rig.killed import INTO_A_PIPE, SHARES, Launcher
from rig.running import collect_garbage, run
from rig.shell import shell

from mirror.destinations.cache.layout import RETIRED, SERVING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from rig.changes import Change
    from rig.killed import Run, Share, Step
    from rig.running import ScratchStore
    from rig.shell import Shell

    from mirror.nix.command import Nix

__all__ = ["shell"]

LEFT_TO_NIX: Final = 10
"""Of so many kills, Nix looks at what one left."""
OF_VARIED_NUMBER: Final = ("os.write ", INTO_A_PIPE)
"""The steps of which a run may have more than another: what arrives is written as it arrives."""


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("make", CHANGES.values(), ids=CHANGES)
async def test_it_can_be_killed_at_any_step(
    shell: Shell, make: Callable[[Shell], Awaitable[Change]], share: Share
) -> None:
    change = await make(shell)
    made = time.time()
    with change.start() as program:
        change.begin()
        whole = program.run(change.command)
        assert whole.code == change.code, whole.output
        expected = content(change.cache)
        kills, gone_on_from = 0, set()
        for step in whole.sample(share):
            change.begin()
            killed = program.run(change.command, kill_at=step)
            if not was_killed(killed, step):
                continue
            kills += 1
            change.look()
            is_cache = (change.cache / "nix-cache-info").exists()
            if kills % LEFT_TO_NIX == 0 and is_cache and not change.is_damaged:
                ask_nix(shell.nix, change.cache)
            left = state(change.disk, since=made)
            if left not in gone_on_from:
                gone_on_from.add(left)
                again = program.run(change.command)
                assert again.code == change.code, f"{step}: {again.output}"
                assert content(change.cache) == expected, step
                change.look()
    if not change.is_damaged:
        ask_nix(shell.nix, change.cache)
    sys.stdout.write(
        f"{len(whole.steps)} steps, {kills} kills, {len(gone_on_from)} to go on from\n"
    )
    assert kills > (4 if share == "some" else 20)
    assert len(gone_on_from) > (1 if share == "some" else 5)


def was_killed(run: Run, step: Step) -> bool:
    """Whether it was; else it has to have come to its end with fewer of these steps."""
    if run.was_killed:
        return True
    assert step[0].startswith(OF_VARIED_NUMBER), run.output
    assert not run.came_to(step), run.output
    return False


@pytest.mark.parametrize("share", SHARES)
async def test_prune_beside_a_server_can_be_killed_at_any_step(shell: Shell, share: Share) -> None:
    change = await pruning(shell)
    made = time.time()
    had = narinfos(change.before / "srv/cache").keys()
    gone_on_from = set()
    with change.start() as program:

        def prune_served(step: Step | None) -> Run:
            change.begin()
            with (change.cache / SERVING).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH)
                killed = program.run(change.command, kill_at=step)
                change.look()
                left = state(change.disk, since=made)
                if left not in gone_on_from:
                    gone_on_from.add(left)
                    again = program.run(change.command)
                    change.look()
                    served = narinfos(change.cache) | narinfos(change.cache / RETIRED)
                    assert served.keys() == had, "a client can go on"
                    assert "held back for clients of the running server" in again.output
            return killed

        whole = prune_served(None)
        assert whole.code == 0, whole.output
        for step in whole.sample(share):
            assert prune_served(step).was_killed
    assert len(whole.steps) > 20


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


@pytest.mark.parametrize("share", SHARES)
def test_sync_into_a_store_can_be_killed_at_any_step(shell: Shell, share: Share) -> None:
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
        asked = whole.sample(share)
        kills = 0
        for step in asked:
            store.remove()
            shutil.rmtree(shell.directory / "state")
            killed = program.run(sync, kill_at=step)
            if not was_killed(killed, step):
                continue
            kills += 1
            schema = store.directory / "nix/var/nix/db/schema"
            if schema.exists() and schema.stat().st_size:
                run(shell.nix, "nix-store", "--verify", "--check-contents", store=store)
                is_kept = bool(list(store.directory.glob("nix/var/nix/gcroots/prefetch/it-1")))
                if is_kept:
                    assert kept_in(shell.nix, store) == expected
            again = program.run(sync)
            assert again.code == 0, f"{step}: {again.output}"
            assert kept_in(shell.nix, store) == expected, step
    sys.stdout.write(f"{kills} kills at {len(asked)} of {len(whole.steps)} steps\n")
    assert kills > len(asked) / 2


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
        cache, cwd=shell.directory, environment=shell.environment(), before=strace, syncs=True
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


def whole_calls(log: str) -> Iterator[str]:
    """The lines of strace's log, those of a call that another thread's interrupted put together."""
    begun: dict[str, str] = {}
    for line in log.splitlines():
        thread, _, rest = line.partition(" ")
        if rest.endswith(" <unfinished ...>"):
            begun[thread] = line.removesuffix(" <unfinished ...>")
        elif resumed := re.fullmatch(r" *<\.\.\. \w+ resumed>(.*)", rest):
            yield begun.pop(thread) + resumed[1]
        else:
            yield line


def effects(log: str, directory: Path) -> Iterator[str]:
    """The system calls of strace's log that changed something below a directory."""
    for line in whole_calls(log):
        found = re.fullmatch(r"\d+ +(\w+)\((.*)\) += .*", line)
        if found is None or f"{directory}/" not in f"{found[2]}/".replace('"', "/").replace(
            ">", "/"
        ):
            continue
        if found[1] == "openat" and not re.search("O_WRONLY|O_RDWR|O_CREAT", found[2]):
            continue
        yield "rmdir" if "AT_REMOVEDIR" in found[2] else found[1]
