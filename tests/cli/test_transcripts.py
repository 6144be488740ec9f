"""What the documentation shows of a terminal is what one sees there, in six situations.

Each is run on clean machines, with a terminal of 80 columns and, as from cron, without one.
``PREFETCH_TRANSCRIPTS=write`` makes the pages' transcripts of what the terminal shows.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
from typing import TYPE_CHECKING, Final

import pytest
from rig.nixes import PROJECT
from rig.transcript_machines import Ended, Names, TranscriptMachine
from rig.transcripts import LEFT_OUT, WRITE, Block, Command, blocks, compared, shown, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix

SITUATIONS: Final = ("train", "pi", "fleet", "tests", "without", "carried")
LONG: Final = ("fleet", "tests")
HOSTS: Final = tuple(f"host-{number:02}" for number in range(1, 51))
LISTS: Final = {
    "train": "laptop = ./nixos#laptop  edits=hosts,wifi,dnsmasq\n",
    "pi": "pi = ./nixos#pi  edits=hosts\n",
    "fleet": "".join(f"{name} = ./nixos#{name}\n" for name in HOSTS),
    "tests": "laptop = ./nixos#laptop  edits=dnsmasq\n",
    "without": "laptop = ./nixos#laptop  edits=hosts\n",
    "carried": "laptop = ./nixos#laptop  edits=hosts,dnsmasq\n",
}
SETTINGS: Final = dict.fromkeys(("pi", "client"), ("extra-platforms = aarch64-linux",))
"""What else a machine's Nix is told: what is of aarch64 here runs anywhere."""
FLEET: Final = """{
  outputs = { self }: {
    nixosConfigurations = builtins.listToAttrs (map
      (name: {
        inherit name;
        value = (import ./default.nix {
          edits = [{ networking.hostName = name; }]
            ++ (if builtins.pathExists ./hosts/${name}.nix then [ ./hosts/${name}.nix ] else [ ]);
        }).nixosConfigurations.laptop;
      })
      [ %s ]);
  };
}
"""
ONLY_WITHOUT_A_TERMINAL: Final = re.compile(r"(fetching|copying) \d+ paths?.*")
"""What a line stands for that a terminal shows as a bar."""


class Situation:
    """The machines of a situation, each made when it is first named."""

    def __init__(self, name: str, directory: Path, nix: Nix, upstream: Upstream) -> None:
        self._name, self._directory = name, directory
        self._nix, self._upstream = nix, upstream
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._names = Names(upstream=upstream.cache_url, port=free.getsockname()[1])
        self._machines: dict[str, TranscriptMachine] = {}
        self._running = contextlib.ExitStack()

    def run(self, block: Block, command: str, *, at_a_terminal: bool) -> Ended:
        machine = self._machine(block)
        if command.startswith("prefetch serve"):
            return Ended(code=0, stdout=self._running.enter_context(machine.running(command)))
        offline = "offline" in block.special
        return machine.run(command, at_a_terminal=at_a_terminal, offline=offline)

    def typed_at_a_terminal(self, block: Block, command: Command) -> Command:
        """The command with what it shows now."""
        ended = self.run(block, command.typed, at_a_terminal=True)
        lines = shown(ended.stdout)
        if ended.code:
            lines.append(f"[exit code {ended.code}]")
        return command.renewed(self._machine(block).retyped(command.typed), lines)

    def end(self) -> None:
        self._running.close()
        for each in self._machines.values():
            each.remove()

    def _machine(self, block: Block) -> TranscriptMachine:
        if block.machine not in self._machines:
            self._machines[block.machine] = made = TranscriptMachine.make(
                self._directory / block.machine,
                self._nix,
                self._upstream,
                self._names,
                *SETTINGS.get(block.machine, ()),
                has_nix="without Nix" not in block.special,
            )
            if self._name in LISTS:
                (made.home / "hosts.txt").write_text(LISTS[self._name])
                shutil.copytree(self._upstream.distribution, made.home / "nixos")
            if self._name == "fleet":
                names = " ".join(f'"{name}"' for name in HOSTS)
                (made.home / "nixos/flake.nix").write_text(FLEET % names)
        return self._machines[block.machine]


def of(situation: str) -> list[Block]:
    """The blocks of a situation; all are on one page."""
    found = [
        block
        for page in sorted((PROJECT / "docs").glob("*.md"))
        for block in blocks(page)
        if block.situation == situation
    ]
    assert len({block.page for block in found}) == 1
    return found


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.thorough if name in LONG else ())
        for name in SITUATIONS
    ]
)
def situation(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def played(
    situation: str, tmp_path: Path, nix_stable: Nix, upstream: Upstream
) -> Iterator[Situation]:
    made = Situation(situation, tmp_path, nix_stable, upstream)
    yield made
    made.end()


def test_a_terminal_shows_what_the_page_does(situation: str, played: Situation) -> None:
    before = list[Command]()
    now = list[tuple[Block, list[Command]]]()
    for block in of(situation):
        before += block.commands
        seen = [played.typed_at_a_terminal(block, command) for command in block.commands]
        now.append((block, seen))
    commands = [command for _, seen in now for command in seen]
    pairs = list(zip(before, commands, strict=True))
    if all(one.matches(other.printed) for one, other in pairs):
        return
    if os.environ.get(WRITE) == "write":
        for block, seen in now:
            write(block, seen)
    else:
        differ = [pair for pair in pairs if not pair[0].matches(pair[1].printed)]
        page, seen_now = (
            [compared(line) for pair in differ for line in pair[place].text.splitlines()]
            for place in (0, 1)
        )
        assert seen_now == page, f"set {WRITE}=write to take what is shown"


@pytest.mark.thorough
def test_without_a_terminal_the_same_comes_out_and_nothing_moves(
    situation: str, played: Situation
) -> None:
    for block in of(situation):
        for command in block.commands:
            ended = played.run(block, command.typed, at_a_terminal=False)
            assert ended.code == command.code, ended.stderr
            for text in (ended.stdout, ended.stderr):
                assert not re.search(r"[^\n\t -~\u00a0-\uffff]", text), "a control character"
            page = [compared(line) for line in command.printed]
            if LEFT_OUT not in page:
                assert_in_order(ended.stdout, page)
                # Nix also says to a log what it builds.
                if command.typed.startswith("prefetch "):
                    assert_in_order(ended.stderr, page)


def assert_in_order(text: str, page: list[str]) -> None:
    """All lines are on the page, but for the few that a terminal has as a bar."""
    left = iter(page)
    for line in map(compared, text.splitlines()):
        if not ONLY_WITHOUT_A_TERMINAL.fullmatch(line):
            assert line in left, line
