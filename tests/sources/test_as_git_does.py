"""Checkouts beside those of nixpkgs' ``nix-prefetch-git``, of repositories that chance makes.

Each is asked for in the same way of the same server; what comes out has the same hash. What the
script refuses we may have in another way: then it is what the script makes of the same object, by
its own hash from a server that gives whatever it has. What that refuses, too, we refuse.

``PREFETCH_GIT_CASES=1000`` draws as many, ``PREFETCH_GIT_SEED=7`` others.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

import pytest
from rig.drawn_repositories import Asked, World
from rig.git_servers import GitServers
from rig.prefetch_git import RefusedError, prefetch_git
from rig.running import run
from rig.thorough import thorough_after_the_first

from mirror.errors import SourceError
from mirror.formats import nar
from mirror.formats.hashes import Hash
from mirror.sources.git import checkout

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.nix.command import Nix
    from mirror.planning.fetchers.fixed_outputs import GitCheckout

CASES = int(os.environ.get("PREFETCH_GIT_CASES", "30"))
SEED = int(os.environ.get("PREFETCH_GIT_SEED", "0"))
OF_A_WORLD = 10


@dataclass(slots=True)
class Tally:
    """How the cases ended, and what was wrong with some."""

    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def ours(origin: GitCheckout, directory: Path) -> Hash | str:
    """The hash of what we make of it, or why we refuse."""
    directory.mkdir()
    try:
        return Hash.of(b"".join(nar.serialize(await checkout(origin, directory))))
    except SourceError as error:
        return error.message
    finally:
        shutil.rmtree(directory)


def theirs(nix: Nix, origin: GitCheckout, directory: Path) -> Hash | None:
    """The hash of what the script makes of it, as Nix computes it; None if it fails."""
    directory.mkdir()
    try:
        made = prefetch_git(origin, directory)
        printed = run(nix, "nix-hash", "--type", "sha256", str(made)).stdout.strip()
        return Hash.parse(printed, "sha256")
    except RefusedError:
        return None
    finally:
        shutil.rmtree(directory)


def of_whoever_has_it(asked: Asked, url: str) -> GitCheckout | None:
    """The same object by its hash, from a server that gives whatever it has."""
    if asked.meant is None:
        return None
    whole = f"{url}/all/{asked.repository}.git"
    return replace(asked.origin, url=whole, revision=asked.meant)


async def compare(nix: Nix, asked: Asked, url: str, directory: Path) -> tuple[str, str]:
    """How a case ended, and what is wrong with it, if anything is."""
    expected = await asyncio.to_thread(theirs, nix, asked.origin, directory / "theirs")
    end = "taken by both"
    if expected is None:
        end = "refused by both"
        other = of_whoever_has_it(asked, url)
        if other is not None:
            expected = await asyncio.to_thread(theirs, nix, other, directory / "theirs")
            end = end if expected is None else "taken by us"
    found = await ours(asked.origin, directory / "ours")
    is_right = isinstance(found, str) if expected is None else found == expected
    return end, "" if is_right else f"{asked}\n  theirs: {expected}\n  ours: {found}"


@pytest.mark.parametrize("number", thorough_after_the_first(range(0, CASES, OF_A_WORLD)))
async def test_what_nix_prefetch_git_makes_is_made(
    nix_stable: Nix, tmp_path: Path, number: int
) -> None:
    tally = Tally()
    directory = tmp_path / "world"
    with GitServers(directory) as servers:
        world = World(directory, servers.url, Random(f"{SEED} {number}"))
        world.make()
        for _ in range(OF_A_WORLD):
            asked = world.ask()
            end, wrong = await compare(nix_stable, asked, servers.url, tmp_path)
            tally.seen[end] += 1
            tally.wrong += [wrong] if wrong else []
    assert not tally.wrong, f"{dict(tally.seen)}\n\n" + "\n\n".join(tally.wrong)
    assert tally.seen["taken by both"] >= OF_A_WORLD // 4
    assert tally.seen["refused by both"] > 0
