"""Configuration files: what stands for options that neither a word nor a variable gives."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from mirror.cli import commands, settings
from mirror.cli.app import leaves

if TYPE_CHECKING:
    from pathlib import Path

    from rig.forked import Forking


class Machine:
    """A directory with the files of a user; the system's are the test's machine's."""

    def __init__(self, directory: Path, forking: Forking) -> None:
        self.directory = directory
        self.forking = forking
        self.file = directory / "config/prefetch/config.toml"
        self.file.parent.mkdir(parents=True)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the program with this user's files."""
        environment = {**os.environ, "XDG_CONFIG_HOME": str(self.directory / "config"), **variables}
        if "PREFETCH_CONFIG" not in variables:
            del environment["PREFETCH_CONFIG"]
        ended = self.forking.run(words, directory=self.directory, environment=environment)
        return subprocess.CompletedProcess(words, ended.code, ended.stdout, ended.stderr)


@pytest.fixture
def machine(tmp_path: Path, forking: Forking) -> Machine:
    """A user's machine."""
    return Machine(tmp_path, forking)


def test_each_place_comes_before_the_next(machine: Machine) -> None:
    """All orders of what says where to look: a word, two variables, two places of a file."""
    places = ["--to", "PREFETCH_ROOTS_TO", "PREFETCH_TO", "roots.to", "to"]
    for first in range(len(places)):
        given = places[first:]
        lines = [f'to = "{machine.directory}/to"'] if "to" in given else []
        if "roots.to" in given:
            lines += ["[roots]", f'to = "{machine.directory}/roots.to"']
        machine.file.write_text("\n".join(lines))
        variables = {
            each: f"{machine.directory}/{each}" for each in given if each.startswith("PREFETCH")
        }
        words = ["--to", f"{machine.directory}/--to"] if "--to" in given else []
        said = machine.run("roots", *words, **variables)
        assert (said.returncode, f"{machine.directory}/{places[first]}\n" in said.stderr) == (
            3,
            True,
        )


def test_lists_flags_numbers_and_what_can_be_repeated(machine: Machine) -> None:
    machine.file.write_text(
        'list = ["one.txt", "two.txt"]\njobs = 3\nsubstituter = "https://a.example"\n'
        "[sync]\nquiet = true\n[check]\njson = true\n"
    )
    assert "one.txt" in machine.run("plan").stderr
    assert machine.run("check").stdout.startswith("{")
    assert not machine.run("plan").stdout
    held = {
        each["key"]: each["value"]
        for each in json.loads(machine.run("config", "sync", "--json").stdout)["settings"]
    }
    assert (held["list"], held["jobs"]) == (["one.txt", "two.txt"], 3)
    assert (held["sync.quiet"], held["substituter"]) == (True, ["https://a.example"])


def test_the_home_directory_is_meant_as_a_shell_means_it(machine: Machine) -> None:
    machine.file.write_text('to = "~/absent"\n')
    home = machine.directory / "home"
    assert f"{home}/absent" in machine.run("roots", HOME=str(home)).stderr


def test_what_is_printed_can_be_read_again_and_says_where_it_is_from(machine: Machine) -> None:
    machine.file.write_text('to = "/srv/cache"\n[sync]\nquiet = true\n')
    said = machine.run("config", PREFETCH_LEVEL="sources", PREFETCH_PLAN_JSON="1")
    assert tomllib.loads(said.stdout) == {
        "to": "/srv/cache",
        "level": "sources",
        "sync": {"quiet": True},
        "plan": {"json": True},
    }
    for line, origin in {
        'to = "/srv/cache"': str(machine.file),
        'level = "sources"': "PREFETCH_LEVEL",
        "plan.json = true": "PREFETCH_PLAN_JSON",
    }.items():
        found = next(each for each in said.stdout.splitlines() if each.startswith(line))
        assert found.endswith(f"  # {origin}")


@pytest.mark.parametrize("words", [" ".join(words) for words, _ in leaves()])
def test_every_command_shows_what_holds_for_it(machine: Machine, words: str) -> None:
    said = machine.run("config", words, "--json")
    assert said.returncode == 0, said.stderr
    tomllib.loads(machine.run("config", words).stdout)


def test_passwords_are_not_shown(machine: Machine) -> None:
    machine.file.write_text('substituter = "https://ann:secret@cache.example"\n')
    for words in (["config"], ["config", "--json"], ["config", "sync"]):
        said = machine.run(*words)
        assert said.returncode == 0
        assert "cache.example" in said.stdout
        assert "secret" not in said.stdout + said.stderr


WRONG = {
    "to = ": "cannot be read: ",
    "lsit = 'a'": "unknown setting lsit, did you mean 'list'?",
    "[snyc]\nto = 'a'": "unknown setting snyc, did you mean 'sync'?",
    "[roots]\nlevle = 'a'": "unknown setting roots.levle",
    "[roots]\nlevel = 'a'": "unknown setting roots.level",
    "quiet = true": "quiet has to be in the table of a command",
    "sync = true": "sync is a command; write its options below [sync]",
    "to = true": "to has to be text or a number, not True",
    "[roots]\njson = 'yes'": "roots.json has to be true or false, not 'yes'",
    "to = ['a', 'b']": "to: not a value of an option: ['a', 'b']",
    "to = 1979-05-27": "to: not a value of an option",
    "jobs = {}": "unknown setting jobs",
    f"to = 0x{'f' * 5_000}": "to: the number is too large",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_what_cannot_be_meant_names_the_file_and_the_setting(machine: Machine, text: str) -> None:
    machine.file.write_text(text)
    said = machine.run("roots")
    assert said.returncode == 2
    assert f"{machine.file}" in said.stderr
    assert WRONG[text] in said.stderr
    assert "Traceback" not in said.stderr
    if "json" not in text:
        document = json.loads(machine.run("roots", "--json").stdout)
        assert document["error"]["exit_code"] == 2
    assert machine.run("config").returncode == 2
    # What helps is there nevertheless, and the file can be left out.
    assert machine.run("roots", "--help").returncode == 0
    assert "cannot be read" not in machine.run("roots", PREFETCH_CONFIG="").stderr


def test_a_value_that_the_option_refuses_names_the_file(machine: Machine) -> None:
    machine.file.write_text('jobs = "many"\n')
    said = machine.run("sync", "hosts.txt")
    assert said.returncode == 2
    assert f"(jobs in {machine.file})" in said.stderr


def test_a_file_that_is_named_has_to_be_there(machine: Machine) -> None:
    said = machine.run("roots", PREFETCH_CONFIG="absent.toml")
    assert (said.returncode, "PREFETCH_CONFIG: there is no absent.toml" in said.stderr) == (2, True)


def test_a_file_that_is_none_is_refused_and_not_waited_for(machine: Machine) -> None:
    os.mkfifo(machine.file)
    said = machine.run("roots")
    assert (said.returncode, "a pipe, not a regular file" in said.stderr) == (2, True)
    machine.file.unlink()
    machine.file.write_bytes(b"to = '\xff'")
    assert machine.run("roots").returncode == 2


def test_the_users_file_comes_before_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFETCH_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(settings, "SYSTEM_FILE", tmp_path / "system.toml")
    (tmp_path / "prefetch").mkdir()
    (tmp_path / "prefetch/config.toml").write_text('to = "own"')
    (tmp_path / "system.toml").write_text('level = "full"\n[plan]\nto = "of all"\n')
    plan = dict(leaves())[("plan",)].context_settings["default_map"]
    found = settings.Configured(("plan",), plan.parameters.values(), plan.keys, leaves)
    assert (found.get("to"), found.get("level"), found.get("only")) == ("own", "full", None)
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME")
    assert settings.paths() == [tmp_path / "system.toml"]


def test_no_option_is_called_as_a_command_is() -> None:
    options = itertools.chain.from_iterable(
        keys.own
        for _, command in leaves()
        for keys in command.context_settings["default_map"].keys.values()
    )
    assert not set(options) & commands.SUMMARIES.keys()
