"""What stands for lists and options that are not given: files of the usual names, variables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from rig.shell import THREE_TARGETS
from rig.terminal import at_terminal

from mirror.cli import default_lists
from mirror.cli.app import leaves

if TYPE_CHECKING:
    from pathlib import Path

    from rig.shell import Shell

NOT_OPTIONS = {"PREFETCH_DESTINATION", "PREFETCH_RESULT", "PREFETCH_TARGETS", "PREFETCH_TRACEBACK"}
"""Variables of other meanings."""


def prefetch(*words: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program where it needs no Nix."""
    return subprocess.run(
        [sys.executable, "-m", "mirror", *words],
        cwd=directory,
        env={**os.environ, **variables},
        text=True,
        capture_output=True,
        check=False,
        timeout=200,
    )


def test_the_list_of_the_usual_name_is_taken(shell: Shell) -> None:
    (shell.directory / "it.nix").write_text(THREE_TARGETS)
    (shell.directory / "hosts.txt").write_text("a = ./it.nix#a\n")
    document = shell.json(shell.arguments("plan", "--to", "cache", "--json"))
    assert [each["name"] for each in document["targets"]] == ["a"]


def test_a_person_is_told_which_list_was_found(tmp_path: Path) -> None:
    (tmp_path / "hosts.txt").write_text("a = .#a level=none\n")
    for words, is_told in (("plan", True), ("plan hosts.txt", False)):
        command = [sys.executable, "-m", "mirror", *words.split()]
        code, shown = at_terminal(command, directory=tmp_path, environment=os.environ)
        assert code != 0
        assert shown.startswith("using hosts.txt\n") == is_told, shown
    assert "using" not in prefetch("plan", directory=tmp_path).stderr


def test_in_the_demos_flake_a_sync_takes_neither_a_list_nor_an_option(shell: Shell) -> None:
    shutil.copytree(shell.upstream.distribution, shell.directory, dirs_exist_ok=True)
    variables: Any = {
        "PREFETCH_TO": "cache",
        "PREFETCH_STORE": shell.evaluation.url,
        "PREFETCH_SUBSTITUTER": shell.upstream.cache_url,
        "PREFETCH_TRUSTED_KEY": shell.upstream.public_key,
    }
    said = shell.run([*shell.command, "sync"], **variables)
    assert "laptop: generation 1, " in said.stdout
    assert "pi: generation 1, " in said.stdout
    assert "laptop: ready" in shell.run([*shell.command, "check"], **variables).stdout
    edited = shell.run([*shell.command, "plan", ".", "--edits", "hosts"], **variables)
    assert "hosts adds" in edited.stdout


def test_a_flake_without_hosts_is_named(shell: Shell) -> None:
    (shell.directory / "flake.nix").write_text("{ outputs = _: { nixosConfigurations = { }; }; }")
    said = shell.run(shell.arguments("plan", "."), expect=1)
    assert "has no nixosConfigurations" in said.stderr
    (shell.directory / "flake.nix").write_text("{ outputs = _: { }; }")
    said = shell.run(shell.arguments("plan", "."), expect=1)
    assert "nixosConfigurations" in said.stderr


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directories in the place of the working directory, /etc/prefetch and /etc/nixos."""
    for name in ("here", "prefetch", "nixos"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    lists = (*default_lists.LISTS[:1], tmp_path / "prefetch/hosts.txt")
    monkeypatch.setattr(default_lists, "LISTS", lists)
    monkeypatch.setattr(default_lists, "NIXOS", tmp_path / "nixos")
    monkeypatch.setattr("socket.gethostname", lambda: "laptop.example.org")
    monkeypatch.delenv("NIXOS_CONFIG", raising=False)
    return tmp_path


def test_each_place_comes_before_the_next(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = default_lists.default_lists
    assert found() == []
    (places / "nixos/configuration.nix").touch()
    assert found() == [f"{places}/nixos/configuration.nix"]
    monkeypatch.setenv("NIXOS_CONFIG", f"{places}/prefetch")
    assert found() == [f"{places}/prefetch"]
    (places / "flake").mkdir()
    (places / "flake/flake.nix").touch()
    (places / "nixos/flake.nix").symlink_to(places / "flake/flake.nix")
    assert found() == [f"{places}/flake#laptop"]
    (places / "here/flake.nix").write_text("{ outputs = _: { }; }")
    assert found() == [f"{places}/flake#laptop"]
    (places / "here/flake.nix").write_text("{ outputs = _: { nixosConfigurations = { }; }; }")
    assert found() == ["."]
    (places / "prefetch/hosts.txt").touch()
    assert found() == [f"{places}/prefetch/hosts.txt"]
    (places / "here/hosts.txt").touch()
    assert found() == ["hosts.txt"]


def test_where_nothing_is_found_it_is_said_what_was_looked_for(tmp_path: Path) -> None:
    if default_lists.default_lists():
        pytest.skip("this machine has a list or a configuration of its own")
    said = prefetch("plan", directory=tmp_path)
    assert said.returncode == 2
    for place in ("./hosts.txt", "/etc/prefetch/hosts.txt", "/etc/nixos/configuration.nix"):
        assert place in said.stderr
    document = json.loads(prefetch("plan", "--json", directory=tmp_path).stdout)
    assert document["error"]["message"] == "no list is named, and none is found"


@pytest.mark.parametrize("name", ["PREFETCH_TO", "PREFETCH_ROOTS_TO"])
def test_a_variable_stands_for_an_option(tmp_path: Path, name: str) -> None:
    said = prefetch("roots", directory=tmp_path, **{name: str(tmp_path / "absent")})
    assert (said.returncode, f"{tmp_path}/absent" in said.stderr) == (3, True)
    given = prefetch("roots", "--to", "other", directory=tmp_path, **{name: "absent"})
    assert "absent" not in given.stderr
    assert f"{tmp_path}/other" in given.stderr


def test_the_commands_own_variable_comes_first_and_flags_have_no_other(tmp_path: Path) -> None:
    variables = {"PREFETCH_TO": "all", "PREFETCH_ROOTS_TO": "own", "PREFETCH_JSON": "1"}
    said = prefetch("roots", directory=tmp_path, **variables)
    assert f"{tmp_path}/own" in said.stderr
    assert not said.stdout
    said = prefetch("roots", directory=tmp_path, **variables, PREFETCH_ROOTS_JSON="1")
    assert said.stdout.startswith("{")


def test_values_of_what_can_be_repeated_have_spaces_between_them(tmp_path: Path) -> None:
    said = prefetch("plan", directory=tmp_path, PREFETCH_LIST="one.txt two.txt")
    assert "one.txt" in said.stderr
    (tmp_path / "one.txt").write_text("a = ./it.nix#a\nb = ./it.nix#b\n")
    variables = {"PREFETCH_LIST": "one.txt", "PREFETCH_ONLY": "b c"}
    said = prefetch("plan", directory=tmp_path, **variables)
    assert "--only c" in said.stderr


def test_a_wrong_value_names_its_variable(tmp_path: Path) -> None:
    for name, value in (("PREFETCH_JOBS", "many"), ("PREFETCH_SYNC_QUIET", "perhaps")):
        said = prefetch("sync", directory=tmp_path, **{name: value})
        assert said.returncode == 2
        assert f"(env var: '{name}')" in said.stderr


def test_each_long_name_has_its_variables(tmp_path: Path) -> None:
    for name in ("PREFETCH_PRUNE_KEEP", "PREFETCH_KEEP", "PREFETCH_KEEP_LAST"):
        said = prefetch("prune", directory=tmp_path, **{name: "none"})
        assert said.returncode == 2
        assert f"(env var: '{name}')" in said.stderr


def test_what_several_commands_have_under_one_name_is_of_one_kind() -> None:
    kinds: defaultdict[str, set[str]] = defaultdict(set)
    for _, command in leaves():
        for each in command.params:
            if each.param_type_name == "option" and not each.is_flag:
                own = each.envvar and each.envvar.startswith("PREFETCH_DEMO_")
                kinds["of the demo" if own else each.opts[0]].add(each.metavar)
    assert all(len(each) == 1 for each in kinds.values()), kinds


def test_no_variable_means_two_things() -> None:
    counted: Counter[str] = Counter()
    for words, command in leaves():
        own = {
            each.envvar for each in command.params if each.envvar and each.envvar != "PREFETCH_LIST"
        }
        assert all(name.startswith("_".join(("PREFETCH", *words)).upper()) for name in own), words
        counted.update(own)
    assert counted
    assert max(counted.values()) == 1
    assert not NOT_OPTIONS & counted.keys()
