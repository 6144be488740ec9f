"""A target in the place of a list, and some of a list's targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.shell import THREE_TARGETS

if TYPE_CHECKING:
    from rig.shell import Shell


@pytest.fixture
def names(shell: Shell) -> Shell:
    (shell.directory / "it.nix").write_text(THREE_TARGETS)
    (shell.directory / "my files").mkdir()
    (shell.directory / "my files/it.nix").write_text(THREE_TARGETS)
    for name in ("it's.nix", "a=b.nix"):
        (shell.directory / name).write_text(THREE_TARGETS)
    (shell.directory / "hosts.txt").write_text("a = ./it.nix#a\nb = ./it.nix#b\nc = ./it.nix#c\n")
    return shell


def planned(shell: Shell, *words: str) -> dict[str, str]:
    document = shell.json(shell.arguments("plan", *words, "--to", "cache", "--json"))
    return {each["name"]: each["root"] for each in document["targets"]}


def test_a_target_stands_in_the_place_of_a_list(names: Shell) -> None:
    of_list = planned(names, "hosts.txt")
    assert planned(names, "./it.nix#a") == {"a": of_list["a"]}
    assert planned(names, "it.nix#a", "./it.nix#b") == {each: of_list[each] for each in "ab"}
    assert planned(names, "mine = ./it.nix#a level=sources") == {"mine": of_list["a"]}
    assert planned(names, "./my files/it.nix#b") == {"b": of_list["b"]}
    assert planned(names, 'mine = "it\'s.nix"#a') == {"mine": of_list["a"]}
    assert planned(names, "it's.nix#b", "a=b.nix#a") == {each: of_list[each] for each in "ab"}
    derivation = names.evaluation.real(of_list["c"])
    assert derivation.exists()
    assert planned(names, of_list["c"]) == {"c": of_list["c"]}


def test_some_of_a_list(names: Shell) -> None:
    of_list = planned(names, "hosts.txt")
    some = planned(names, "hosts.txt", "--only", "c", "--only", "a")
    assert some == {each: of_list[each] for each in "ac"}
    said = names.run(names.arguments("plan", "hosts.txt", "--only", "d"), expect=2).stderr
    assert "--only d: no target is called so" in said
    assert "there are: a, b, c" in said


def test_a_sync_of_some_says_nothing_of_the_others(names: Shell) -> None:
    names.run(names.arguments("sync", "hosts.txt", "--to", "cache"))
    (names.directory / "hosts.txt").write_text("a = ./it.nix#a\n")
    names.run(names.arguments("sync", "hosts.txt", "--only", "a", "--to", "cache"))
    names.run(names.arguments("sync", "./it.nix#b", "--to", "cache"))
    runs = names.json([*names.command, "roots", "--to", "cache", "--json"])["runs"]
    assert {each["target"]: each["listed"] for each in runs} == {"a": True, "b": True, "c": True}
    told = names.run(names.arguments("sync", "hosts.txt", "--to", "cache")).stdout
    assert "on no list any more: b, c\n" in told


def test_edits_of_a_named_target(shell: Shell) -> None:
    laptop = f"path:{shell.upstream.distribution}#laptop"
    words = (laptop, "--edits", "hosts,hostname")
    (target,) = shell.json(shell.arguments("plan", *words, "--json"))["targets"]
    assert list(target["edits"]) == ["hosts", "hostname"]
    (shell.directory / "cache").mkdir()
    (shell.directory / "cache/nix-cache-info").write_text("StoreDir: /nix/store\n")
    checked = shell.run(
        [*shell.command, "check", *words, "--to", "cache", "--store", shell.store_url], expect=1
    )
    wanted = f"prefetch sync {laptop} --edits hosts,hostname --to cache"
    assert wanted in checked.stdout.replace("'", "")


def test_what_drops_targets_takes_lists_alone(names: Shell) -> None:
    names.run(names.arguments("sync", "hosts.txt", "--to", "cache"))
    for word in ("./it.nix#a", ".", "/run/a#b.txt", "./cache"):
        prune = [*names.command, "prune", word, "--removed", "--to", "cache"]
        assert "cannot be read" in names.run(prune, expect=2).stderr
    kept = names.json([*names.command, "roots", "--to", "cache", "--json"])["generations"]
    assert {each["target"] for each in kept} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hosts.txt", "--edits", "hosts"], "--edits goes with a target that is named"),
        (["./it.nix#a", "--edits", "hosts"], "does not go with FILE.nix#ATTRIBUTE"),
        (["./it.nix#a", "./it.nix#a"], "two targets are called a"),
        (["./it.nix#a # mine", "--edits", "./a.nix"], "without a comment"),
        (["./it.nix#a", "--edits", ""], "edits= has no value"),
        (["."], "the list . cannot be read: "),
        (["./my files"], "the list ./my files cannot be read: "),
        (["#a"], "not one target"),
        ([".#" + "a" * 200], "cannot be the target's name"),
        (["x" * 5000 + "#a"], ""),
        (["a\nb#c"], "not one target"),
        (["./it.nix#a edits"], "'edits' is not an option"),
        (["laptop.txt"], "the list laptop.txt cannot be read"),
        ([""], "cannot be read"),
    ],
)
def test_what_is_neither_is_told(names: Shell, words: list[str], said: str) -> None:
    ended = names.run(names.arguments("plan", *words), expect=1 if not said else 2)
    assert said in ended.stderr
