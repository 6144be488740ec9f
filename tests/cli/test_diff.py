"""``prefetch diff``: generations of a target compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rig.shell import Shell


def sync(shell: Shell, line: str) -> None:
    shell.write_list(line)
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))


def test_generations_are_compared_package_by_package(shell: Shell) -> None:
    for package in ("ledger", "calendar", "laptop"):
        sync(shell, f"host = DEMO#{package}")
    diff = [*shell.command, "diff", "host", "--to", "cache"]
    document = shell.json([*diff, "1", "2", "--json"])
    assert (document["before"]["number"], document["after"]["number"]) == (1, 2)
    packages = {each["name"]: each for each in document["packages"]}
    assert packages["calendar"]["before"] == []
    assert packages["ledger"]["after"] == []
    roots = shell.json([*shell.command, "roots", "--to", "cache", "--json"])["generations"]
    sizes = {each["number"]: each["nar_bytes"] for each in roots}
    assert document["before"]["nar_bytes"] == sizes[1]
    back = shell.json([*diff, "2", "1", "--json"])
    assert (back["added"], back["removed"]) == (document["removed"], document["added"])
    lines = shell.run(diff).stdout.splitlines()
    assert lines[0].startswith("host: generation 2 of ")
    assert lines[1].startswith("host: generation 3 of ")
    assert any(line.startswith("  +openssh ") for line in lines)
    assert lines[-1].split()[1:3] == ["packages", "changed,"]
    of_one = shell.json([*diff, "1", "--json"])
    assert (of_one["before"]["number"], of_one["after"]["number"]) == (1, 3)
    same = shell.run([*diff, "3", "3"]).stdout
    assert same.endswith(
        "0 packages changed, 0 rebuilt with the same name; 0 paths added, 0 removed, +0 B\n"
    )


def test_what_is_not_there_is_told_with_what_is(shell: Shell) -> None:
    sync(shell, "host = DEMO#ledger")
    diff = [*shell.command, "diff", "--to", "cache"]
    for words, said in (
        (("hots",), "did you mean"),
        (("hots",), "there are generations of host"),
        (("host",), "host has one generation only (1)"),
        (("host", "7"), "host has no generation 7"),
        (("host", "1", "1", "1"), "two generations can be compared, not more"),
    ):
        assert said in shell.run([*diff, *words], expect=2).stderr


def test_a_generation_is_compared_with_what_a_sync_would_keep(shell: Shell) -> None:
    sync(shell, "host = DEMO#ledger")
    compared = shell.arguments("diff", "host", "--to", "cache", "--list", "hosts.txt")
    same = shell.json([*compared, "--json"])
    assert (same["after"], same["added"], same["removed"]) == (None, [], [])
    shell.write_list("host = DEMO#calendar", "other = DEMO#no-such")
    foreseen = shell.json([*compared, "--json"])
    lines = shell.run(compared).stdout.splitlines()
    assert lines[1].startswith("host: a sync now, ")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache", "--only", "host"))
    came = shell.json([*shell.command, "diff", "host", "--to", "cache", "--json"])
    for member in ("packages", "rebuilt", "added", "removed", "before"):
        assert foreseen[member] == came[member]
    assert "not two" in shell.run([*compared, "1", "2"], expect=2).stderr
    shell.write_list("host = DEMO#no-such")
    assert "no-such" in shell.run(compared, expect=1).stderr


def test_a_sync_says_what_its_generation_changed(shell: Shell) -> None:
    sync(shell, "host = DEMO#ledger")
    shell.write_list("host = DEMO#calendar", "other = DEMO#ledger")
    document = shell.json(shell.arguments("sync", "hosts.txt", "--to", "cache", "--json"))
    changed = {each["target"]: each["changed"] for each in document["generations"]}
    assert changed["other"] is None
    diff = [*shell.command, "diff", "host", "--to", "cache"]
    compared = shell.json([*diff, "--json"])
    assert changed["host"] == {
        "since": 1,
        "packages": compared["packages"],
        "rebuilt": compared["rebuilt"],
        "more": 0,
    }
    shell.write_list("host = DEMO#ledger")
    told = shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache")).stdout.splitlines()
    line = next(line for line in told if line.startswith("  since generation 2: "))
    shown = [each.strip() for each in shell.run(diff).stdout.splitlines() if each.startswith("  ")]
    assert 0 < len(shown) <= 8
    assert line.removeprefix("  since generation 2: ").startswith(", ".join(shown))
    again = shell.json(shell.arguments("sync", "hosts.txt", "--to", "cache", "--json"))
    assert [each["changed"] for each in again["generations"]] == [None]
