"""The power goes at steps of what changes a directory: what readers find, and the next run.

Steps of every kind are tried, and with ``PREFETCH_STEPS=all`` each step. What a disk may hold then
is simulated (:mod:`rig.power`). Nix looks at one of ten.
"""

from __future__ import annotations

import random
import shutil
import sys
from typing import TYPE_CHECKING, Final

import pytest
from rig.changes import CHANGES, ask_nix, content, published, state
from rig.killed import SHARES, sampled
from rig.power import History, write_tree
from rig.shell import shell

from mirror.destinations.cache.layout import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from rig.changes import Change
    from rig.killed import Share
    from rig.power import Tree
    from rig.shell import Shell

__all__ = ["shell"]

LEFT_TO_NIX: Final = 10
"""Of so many trees, Nix looks at one."""
MIXES: Final = 1
"""So many mixed trees are drawn at each step."""


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("make", CHANGES.values(), ids=CHANGES)
async def test_power_can_fail_at_any_step(
    shell: Shell, make: Callable[[Shell], Awaitable[Change]], share: Share
) -> None:
    change = await make(shell)
    file = shell.directory / "history"
    with change.start() as program:
        change.begin()
        whole = program.run(change.command, history=file)
        assert whole.code == change.code, whole.output
        expected, reported = content(change.cache), published(change.cache)
        history = History.read(file)
        looked_at, gone_on_from = 0, set()
        for step, tree, in_order in trees(history, share):
            put(tree, change)
            looked_at += 1
            change.look(in_order=in_order)
            if step == history.moments[-1].step:
                assert reported.items() <= published(change.cache).items()
            is_cache = (change.cache / "nix-cache-info").exists()
            if looked_at % LEFT_TO_NIX == 0 and in_order and is_cache and not change.is_damaged:
                ask_nix(shell.nix, change.cache)
            left = state(change.disk, since=0)
            if left not in gone_on_from:
                gone_on_from.add(left)
                again = program.run(change.command)
                assert again.code == change.code, f"{step}: {again.output}"
                now = content(change.cache)
                # A disk that does not keep the order may lose what is renamed into another place.
                lost = set() if in_order else {n for n in expected if n.startswith(DAMAGED)}
                assert all(now.get(n) == expected[n] for n in expected.keys() - lost), step
                assert now.keys() <= expected.keys(), step
    sys.stdout.write(
        f"{len(whole.steps)} steps, {looked_at} trees, {len(gone_on_from)} to go on from\n"
    )
    assert looked_at > (2 if share == "some" else 15)


def trees(history: History, share: Share) -> Iterator[tuple[str, Tree, bool]]:
    """What the disk may hold before steps, each once; whether changes are in order in it."""
    drawn = random.Random(2026)
    known: set[frozenset[tuple[str, bytes | None]]] = set()
    tried = {*sampled([each.step for each in history.moments], share)}
    for place, disk in enumerate(history.disks()):
        if place not in tried:
            continue
        mixes = [(disk.mixed(drawn), False) for _ in range(MIXES)]
        for tree, in_order in ((disk.strict(), True), (disk.names_ahead(), True), *mixes):
            key = frozenset(
                (path, None if file is None else file.content) for path, file in tree.items()
            )
            if key not in known:
                known.add(key)
                yield disk.moment.step, tree, in_order


def put(tree: Tree, change: Change) -> None:
    shutil.rmtree(change.disk)
    change.disk.mkdir()
    write_tree(tree, change.disk)
