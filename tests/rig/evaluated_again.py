"""A target evaluated a second time elsewhere: on an empty store that is fed, with no network."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING, Final

from mirror.demo.busybox import find_busybox
from mirror.nix.evaluation.evaluate import Evaluated, evaluate
from mirror.nix.evaluation.needs import EvaluationNeeds, evaluation_needs
from mirror.nix.protocol import daemon
from mirror.nix.stores import StoreLocation, open_store
from mirror.planning.lists.list_file import parse_list
from rig.running import ScratchStore, run

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.nix.command import Nix

SYSTEM: Final = "x86_64-linux"
MADE: Final = """
  made = name: more: derivation ({
    inherit name; system = "x86_64-linux"; builder = "/bin/sh";
  } // more);
"""
"""A function that makes derivations, which the sandbox's /bin/sh builds."""


async def nix_for_builds(any_nix: Nix, tmp_path: Path) -> Nix:
    """Nix whose sandbox has a shell and busybox, and whose caches are of this test alone."""
    tools = tmp_path / "tools"
    tools.mkdir()
    shutil.copy(await find_busybox(any_nix), tools / "busybox")
    sandbox = f"sandbox-paths = /bin/sh={tools}/busybox /bin/busybox={tools}/busybox"
    config = f"{any_nix.environment['NIX_CONFIG']}\n{sandbox}"
    return with_new_home(
        dataclasses.replace(any_nix, environment={**any_nix.environment, "NIX_CONFIG": config}),
        tmp_path / "first-home",
    )


def with_new_home(nix: Nix, home: Path) -> Nix:
    """The same Nix of a user who has never run it."""
    home.mkdir()
    directories = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG")}
    return dataclasses.replace(
        nix, environment={**nix.environment, **directories, "HOME": str(home)}
    )


async def needs_of(
    nix: Nix, store: StoreLocation, directory: Path, line: str
) -> tuple[Evaluated, EvaluationNeeds]:
    (target,) = parse_list(f"it = {line}", file="hosts.txt", directory=directory, shipped_edits={})
    await open_store(nix, store)
    evaluated = await evaluate(nix, target, store=store, system=SYSTEM)
    async with daemon.connect(nix, store) as connection:
        needs = await evaluation_needs(nix, evaluated, store=store, connection=connection)
    assert all(each in needs.references for names in needs.references.values() for each in names)
    return evaluated, needs


def feed(nix: Nix, elsewhere: ScratchStore, store: StoreLocation, needs: EvaluationNeeds) -> None:
    """Copy what is needed, and nothing else, from the store of the evaluation."""
    copy = ("nix", "copy", "--no-check-sigs", "--no-recursive", "--from", store.url)
    if needs.paths:
        run(nix, *copy, "--to", elsewhere.url, *sorted(needs.paths))


def evaluate_offline(nix: Nix, elsewhere: ScratchStore, *arguments: str) -> str:
    """Evaluate to a derivation where there is no network, with no cache of Nix's own."""
    command = ("nix", "eval", "--raw", "--no-write-lock-file", *arguments)
    return run(nix, *command, store=elsewhere, offline=True).stdout


def flake(directory: Path, text: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "flake.nix").write_text(text)
    return directory


def lock(nix: Nix, directory: Path, store: ScratchStore) -> None:
    run(nix, "nix", "flake", "lock", f"path:{directory}", store=store)
