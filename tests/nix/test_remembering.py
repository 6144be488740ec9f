"""Evaluations that are remembered: nothing is evaluated twice, and nothing is ever wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import sqlite3
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from rig.evaluated_again import MADE, SYSTEM, nix_for_builds
from rig.running import ScratchStore, run

from mirror.nix.evaluation import memory
from mirror.nix.evaluation.evaluate import Evaluated, evaluate_all
from mirror.nix.evaluation.evaluators import Evaluators
from mirror.nix.evaluation.identity import evaluator_identity, state_of
from mirror.nix.evaluation.recording import Touched
from mirror.nix.evaluation.remembering import Remembering
from mirror.nix.protocol import daemon
from mirror.nix.settings import read_settings
from mirror.nix.stores import StoreLocation, open_store
from mirror.planning.lists.list_file import parse_list

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mirror.errors import EvaluationError
    from mirror.nix.command import Nix

# What the hosts are made of changes with each of the files, with the input, with what is known of
# the tree itself, and with what an import from derivation happens to come to.
FLAKE: Final = """{ inputs.inner.url = "path:%(inner)s"; outputs = { self, inner }: let %(made)s
  seen = toString [
    inner.x (import ./message.nix) (builtins.attrNames (builtins.readDir ./files))
    (if builtins.pathExists ./extra.nix then import ./extra.nix else "no extra")
    (self.rev or "dirty") (toString self.lastModified) (builtins.getEnv "SEEN")
  ];
  drawn = builtins.readFile (made "drawn" {
    args = [ "-c" "/bin/busybox cat /proc/sys/kernel/random/uuid > $out" ];
  });
  host = name: more: modules: {
    extendModules = { modules }: host name more (map import modules);
    config.system.build.toplevel = made "nixos-${name}" {
      inherit seen more; modules = builtins.toJSON modules; src = "${./files}";
    };
  };
in {
  nixosConfigurations.a = host "a" "" [ ];
  nixosConfigurations.b = host "b" drawn [ ];
  packages.%(system)s.plain = made "plain" { inherit seen; };
}; }
"""
LINES: Final = """
a = git+file:tree#a edits=edits/alone.nix,edits/beside.nix
b = path:tree#b
c = git+file:tree#b
plain = git+file:tree#plain edits=edits/alone.nix
file = impure.nix#it
laptop = configuration.nix
"""
OF_FLAKES: Final = 7
"""How many evaluations of LINES can be remembered."""
OF_FILES: Final = 2


@dataclass
class World:
    """A list, what it names, and a Nix of which is known what it was asked to evaluate."""

    nix: Nix
    store: StoreLocation
    scratch: ScratchStore
    place: Path
    log: Path
    system: str = SYSTEM
    results: Sequence[Evaluated | EvaluationError] = field(default_factory=list)

    def write(self, name: str, text: str) -> None:
        file = self.place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def git(self, *words: str) -> None:
        git = ["git", "-C", str(self.place / "tree"), "-c", "user.name=t", "-c", "user.email=t@l"]
        subprocess.run([*git, *words], check=True, capture_output=True)

    def configure(self, **variables: str) -> None:
        environment = {**self.nix.environment, **variables}
        self.nix = dataclasses.replace(self.nix, environment=environment)

    def delete(self, *paths: str) -> None:
        for path in paths:
            run(self.nix, "nix-store", "--delete", path, store=self.scratch, check=False)

    @property
    def database(self) -> Path:
        return self.nix.cache_directory / memory.FILE_NAME

    def started(self) -> int:
        """How many evaluators were started since this was last asked."""
        words = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return sum(" --apply " in f" {each} " for each in words)

    async def evaluate(
        self, *, remembered: bool, believe: bool = True, lines: str = LINES
    ) -> Sequence[Evaluated | EvaluationError]:
        targets = parse_list(lines, file="hosts.txt", directory=self.place, shipped_edits={})
        settings = await read_settings(self.nix)
        async with daemon.connect(self.nix, self.store) as connection:
            remembering = Remembering(self.nix, self.store, settings, connection)
            if remembered:
                await remembering.recall(targets, believe=believe)
            results = await evaluate_all(
                self.nix,
                targets,
                store=self.store,
                system=settings.system,
                evaluators=Evaluators(2),
                remembering=remembering if remembered else None,
            )
            if remembered:
                await remembering.save()
            return results

    async def compare(self) -> int:
        """See that what is remembered is what is true; how many evaluations that took."""
        self.started()
        self.results = await self.evaluate(remembered=True)
        started = self.started()
        for each in self.results:
            if isinstance(each, Evaluated):
                assert all(self.store.real(root).is_file() for root in each.roots)
        fresh = await self.evaluate(remembered=False)
        assert list(map(_shown, self.results)) == list(map(_shown, fresh))
        self.started()
        return started

    def root(self, number: int) -> str:
        result = self.results[number]
        assert isinstance(result, Evaluated), result
        return result.root


def _shown(result: Evaluated | EvaluationError) -> object:
    if not isinstance(result, Evaluated):
        return result.message
    return dataclasses.replace(result, touched=Touched())


@pytest.fixture
async def world(any_nix: Nix, scratch_store: ScratchStore, tmp_path: Path) -> World:
    nix = await nix_for_builds(any_nix, tmp_path)
    log = tmp_path / "log"
    program = tmp_path / "counted-nix"
    program.write_text(f'#!/bin/sh\necho $(echo "$*") >> {log}\nexec {nix.program} "$@"\n')
    program.chmod(0o755)
    store = StoreLocation.parse(scratch_store.url)
    await open_store(nix, store)
    place = tmp_path / "place"
    counted = dataclasses.replace(nix, program=str(program))
    world = World(counted, store, scratch_store, place, log)
    for name in ("inner", "other"):
        world.write(f"{name}/flake.nix", f'{{ outputs = {{ self }}: {{ x = "{name}"; }}; }}')
    values = {"inner": str(place / "inner"), "made": MADE, "system": SYSTEM}
    world.write("tree/flake.nix", FLAKE % values)
    world.write("tree/message.nix", '"first"')
    world.write("tree/files/one", "one")
    world.write("edits/alone.nix", '"alone"')
    world.write("edits/beside.nix", "import ./more/text.nix")
    world.write("edits/more/text.nix", '"beside"')
    impure = f'let {MADE} in {{ it = made "file" {{ seen = builtins.getEnv "SEEN"; }}; }}'
    world.write("impure.nix", impure)
    for channel in ("channel-1", "channel-2"):
        system = f'let {MADE} in _: {{ system = made "nixos-{channel}" {{ }}; }}'
        world.write(f"{channel}/nixos/default.nix", system)
    world.write("configuration.nix", "{ }")
    (place / "channel").symlink_to("channel-1")
    world.configure(NIX_PATH=f"nixpkgs={place}/channel", SEEN="nothing")
    world.git("init")
    world.git("add", ".")
    run(nix, "nix", "flake", "lock", f"path:{place}/tree", store=scratch_store)
    world.git("add", ".")
    world.git("commit", "-m", "first")
    return world


async def test_what_has_not_changed_is_not_evaluated_again(world: World) -> None:
    assert await world.compare() == OF_FLAKES + OF_FILES
    first = world.results
    edits = [edit for each in first if isinstance(each, Evaluated) for edit in each.edits]
    assert [each.is_applicable for each in edits] == [True, True, False]
    assert await world.compare() == OF_FILES
    assert world.results == first, "what they touched is remembered, too"
    assert await world.evaluate(remembered=True, believe=False) == first
    assert world.started() == OF_FLAKES + OF_FILES
    world.write("edits/alone.nix", '"changed"')
    assert await world.compare() == OF_FILES + 3, "the edits, and one that is beside it"


async def test_what_fails_is_evaluated_each_time(world: World) -> None:
    world.write("tree/message.nix", 'throw "not today"')
    lines = "a = git+file:tree#a\nnone = git+file:tree#none\nnumber = git+file:tree#lib"
    for _ in range(2):
        results = await world.evaluate(remembered=True, lines=lines)
        assert not any(isinstance(each, Evaluated) for each in results)
        assert world.started() == 3


def _changes(world: World) -> list[Callable[[], object]]:
    """What can happen between two runs; most of them can happen again and again."""
    place, tree = world.place, world.place / "tree"

    def relock() -> None:
        (tree / "flake.lock").unlink()
        run(world.nix, "nix", "flake", "lock", f"path:{tree}", store=world.scratch)

    def override() -> None:
        text = (tree / "flake.nix").read_text()
        other = text.replace(f"{place}/inner", f"{place}/other")
        world.write("tree/flake.nix", other if other != text else text.replace("/other", "/inner"))

    def spoil(start: int, data: bytes) -> None:
        with contextlib.suppress(FileNotFoundError), world.database.open("r+b") as file:
            file.seek(start)
            file.write(data)

    def swap() -> None:
        with contextlib.closing(sqlite3.connect(world.database)) as connection, connection:
            rows = connection.execute("SELECT key, answer, checksum FROM evaluations").fetchall()
            for (key, *_), (_, answer, checksum) in zip(rows, rows[1:] + rows[:1], strict=True):
                connection.execute(
                    "UPDATE evaluations SET answer = ?, checksum = ? WHERE key = ?",
                    (answer, checksum, key),
                )

    def move_channel() -> None:
        (place / "channel").unlink()
        (place / "channel").symlink_to("channel-2")

    def delete_sources() -> None:
        store = world.scratch.directory / "nix/store"
        world.delete(*(world.root(number) for number in range(3)))
        world.delete(*(f"/nix/store/{each.name}" for each in store.glob("*-source")))

    def delete_drawn() -> None:
        store = world.scratch.directory / "nix/store"
        world.delete(*(f"/nix/store/{each.name}" for each in store.glob("*-drawn")))

    return [
        lambda: None,
        lambda: world.write("tree/message.nix", '"second"'),
        lambda: world.write("tree/message.nix", '"first"'),
        lambda: world.write("tree/extra.nix", '"extra"'),
        lambda: world.git("add", "--all"),
        lambda: world.git("commit", "--allow-empty", "--all", "-m", "next"),
        lambda: (tree / "extra.nix").unlink(missing_ok=True),
        lambda: world.write("tree/files/two", "two"),
        lambda: (tree / "files/one").chmod(0o755),
        lambda: world.write("inner/flake.nix", '{ outputs = { self }: { x = "changed"; }; }'),
        relock,
        override,
        lambda: world.write("edits/alone.nix", '"another"'),
        lambda: world.write("edits/more/text.nix", '"another"'),
        lambda: shutil.copy(place / "edits/beside.nix", place / "edits/alone.nix"),
        lambda: run(world.nix, "nix-store", "--gc", store=world.scratch),
        lambda: world.delete(world.root(0)),
        delete_sources,
        delete_drawn,
        lambda: world.configure(SEEN="something"),
        move_channel,
        lambda: world.database.unlink(missing_ok=True),
        lambda: world.database.write_bytes(b""),
        lambda: world.database.write_bytes(b"no database at all" * 999),
        lambda: spoil(4096, b"\0" * 3000),
        lambda: spoil(100, b"\xff" * 500),
        swap,
    ]


@pytest.mark.timeout(600)
async def test_what_is_remembered_is_never_wrong(world: World) -> None:
    """Whatever happens between runs, in any order; PREFETCH_REMEMBERING_SEED draws others."""
    changes = _changes(world)
    seed = int(os.environ.get("PREFETCH_REMEMBERING_SEED", "1"))
    order = random.Random(seed).sample(range(len(changes)), len(changes))
    await world.compare()
    for number in order:
        changes[number]()
        await world.compare()
    assert await world.compare() == OF_FILES


async def test_a_file_that_changes_during_the_evaluation_is_not_remembered(world: World) -> None:
    """Nix may read a git tree while it evaluates: what it saw was never there as a whole."""
    tree = world.place / "tree"
    world.write("tree/message.nix", '"dirty"')
    before = state_of([tree])
    world.write("tree/message.nix", '"other"')
    world.write("tree/message.nix", '"dirty"')
    assert state_of([tree]) != before
    program = world.place / "changing-nix"
    changing = f"echo '\"in between\"' > {tree}/message.nix"
    program.write_text(
        f'#!/bin/sh\ncase " $* " in *" --apply "*) {changing};; esac\n'
        f'{world.nix.program} "$@"\ncode=$?\n'
        f"echo -n '\"dirty\"' > {tree}/message.nix\nexit $code\n"
    )
    program.chmod(0o755)
    counted, world.nix = world.nix, dataclasses.replace(world.nix, program=str(program))
    lines = "a = git+file:tree#a"
    await world.evaluate(remembered=True, lines=lines)
    world.nix = counted
    world.started()
    await world.evaluate(remembered=True, lines=lines)
    assert world.started() == 1


async def test_another_nix_or_other_settings_have_an_identity_of_their_own(world: World) -> None:
    nix = world.nix
    settings = await read_settings(nix)
    found = [evaluator_identity(nix, settings, store=world.store)]
    for line in ("system = aarch64-linux", "allow-import-from-derivation = false"):
        config = f"{nix.environment['NIX_CONFIG']}\n{line}"
        world.configure(NIX_CONFIG=config)
        other = await read_settings(world.nix)
        found.append(evaluator_identity(nix, other, store=world.store))
    newer = dataclasses.replace(nix, version=(9, 9, 9))
    found.append(evaluator_identity(newer, settings, store=world.store))
    elsewhere = StoreLocation.parse("daemon")
    found.append(evaluator_identity(nix, settings, store=elsewhere))
    data = nix.environment.get("XDG_DATA_HOME")
    agreed = (Path(data) if data else nix.home / ".local/share") / "nix/trusted-settings.json"
    agreed.parent.mkdir(parents=True)
    agreed.write_text("{}")
    found.append(evaluator_identity(nix, settings, store=world.store))
    assert None not in found
    assert len(set(found)) == len(found)

    config = f"{nix.environment['NIX_CONFIG']}\nallow-unsafe-native-code-during-evaluation = true"
    world.configure(NIX_CONFIG=config)
    impure = await read_settings(world.nix)
    assert evaluator_identity(nix, impure, store=world.store) is None


async def test_a_directory_that_cannot_be_written_is_nobodys_error(world: World) -> None:
    world.nix.cache_directory.parent.mkdir(parents=True, exist_ok=True)
    world.nix.cache_directory.write_text("no directory")
    lines = "a = git+file:tree#a"
    for _ in range(2):
        await world.evaluate(remembered=True, lines=lines)
        assert world.started() == 1
