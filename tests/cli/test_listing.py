"""A target that left its list is told from others on every surface, and can be removed."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from rig.serving import serve_directory
from rig.shell import THREE_TARGETS

from mirror.destinations.records.run_record import RUN_RECORD

if TYPE_CHECKING:
    from pathlib import Path

    from rig.shell import Shell


def write(shell: Shell, name: str, *targets: str) -> Path:
    """Write a list of targets, named as the attribute that each is, or NAME=ATTRIBUTE."""
    (shell.directory / "it.nix").write_text(THREE_TARGETS)
    file = shell.directory / name
    lines = [each if "=" in each else f"{each}={each}" for each in targets]
    file.write_text("".join(f"{each.replace('=', ' = ./it.nix#')}\n" for each in lines))
    return file


def sync(shell: Shell, *lists: Path, expect: int = 0, quiet: bool = False) -> str:
    names = [each.name for each in lists]
    words = ["sync", *names, "--to", "cache", *(["--quiet"] if quiet else [])]
    return shell.run(shell.arguments(*words), expect=expect).stdout


def listed(shell: Shell, to: str = "cache") -> dict[str, bool]:
    document = shell.json([*shell.command, "roots", "--to", to, "--json"])
    return {each["target"]: each["listed"] for each in document["runs"]}


async def test_a_target_that_left_its_list_is_no_ghost(shell: Shell) -> None:
    hosts = write(shell, "hosts.txt", "a", "b", "c=a")
    other = write(shell, "other.txt", "other=b")
    sync(shell, hosts)
    sync(shell, other)
    assert set(listed(shell).values()) == {True}
    (shell.directory / "broken.txt").write_text("a = \n")
    sync(shell, shell.directory / "broken.txt", expect=2)
    assert set(listed(shell).values()) == {True}, "a list that cannot be read says nothing"

    # One stays, one moves to another list, one goes, and each list is synced by itself.
    write(shell, "hosts.txt", "a")
    write(shell, "other.txt", "other=b", "c=a")
    told = sync(shell, hosts, quiet=True)
    assert "on no list any more: b, c\n" in told, "it is news, once"
    assert listed(shell) == {"a": True, "b": False, "c": False, "other": True}
    assert sync(shell, hosts, quiet=True) == ""
    sync(shell, other)
    assert listed(shell) == {"a": True, "b": False, "c": True, "other": True}
    again = shell.json(shell.arguments("sync", "hosts.txt", "--to", "cache", "--json"))
    assert again["unlisted"] == ["b"]

    command = f"prefetch prune {hosts} {other} --removed --to {shell.directory / 'cache'}"
    text = shell.run([*shell.command, "roots", "--to", "cache"]).stdout
    assert f"b: on no list any more, last on {hosts}\n" in text
    assert command in text
    async with serve_directory(shell.directory / "cache") as served:
        status = json.loads((await served.ask("/status.json")).body)
        assert {each["name"]: each["listed"] for each in status["hosts"]} == listed(shell)
        page = (await served.ask("/")).body.decode()
        assert page.count("on no list any more") == 1
        assert command in page
        metrics = (await served.ask("/metrics")).body.decode()
        assert 'prefetch_listed{target="a"} 1\n' in metrics
        assert 'prefetch_listed{target="b"} 0\n' in metrics
        alerts = (
            *("complete", "lost_paths", "missing_paths", "refreshed_time_seconds", "rehearsed"),
            *("last_run_complete", "last_run_timestamp_seconds", "last_run_received_bytes"),
        )
        for name in alerts:
            assert f'prefetch_{name}{{target="a"}}' in metrics
            assert f'prefetch_{name}{{target="b"}}' not in metrics
        shell.run([*shell.command, *shlex.split(command)[1:]])
        assert listed(shell) == {"a": True, "c": True, "other": True}
        assert "on no list" not in (await served.ask("/")).body.decode()


def test_two_lists_that_have_a_target_both_have_to_let_go_of_it(shell: Shell) -> None:
    """And a store has no records of it either, once it was removed."""
    store = shell.scratch_store("kept").url
    one, two = write(shell, "one.txt", "a", "b"), write(shell, "two.txt", "b", "c")
    for each in (one, two):
        shell.run(shell.arguments("sync", each.name, "--to", store))
    write(shell, "one.txt", "a")
    shell.run(shell.arguments("sync", "one.txt", "--to", store))
    assert listed(shell, store)["b"]
    write(shell, "two.txt", "c")
    shell.run(shell.arguments("sync", "two.txt", "--to", store))
    assert not listed(shell, store)["b"]
    removal = ["prune", "one.txt", "two.txt", "--removed", "--to", store]
    shell.run([*shell.command, *removal])
    assert listed(shell, store) == {"a": True, "c": True}


def test_a_record_of_before_lists_were_known_counts_as_listed(shell: Shell) -> None:
    hosts = write(shell, "hosts.txt", "a", "b")
    sync(shell, hosts)
    for file in (shell.directory / "cache/runs").iterdir():
        document = json.loads(file.read_bytes())
        del document["lists"], document["digest"]
        file.write_text(json.dumps(document))
        assert RUN_RECORD.parse(file.read_bytes()).is_listed
    write(shell, "hosts.txt", "a")
    sync(shell, hosts)
    assert listed(shell) == {"a": True, "b": True}


def test_what_is_piped_is_another_list_each_time(shell: Shell) -> None:
    def sync_piped(target: str) -> None:
        write(shell, "piped.txt", f"{target}={target}")
        text = (shell.directory / "piped.txt").read_text().replace("./", f"{shell.directory}/")
        (shell.directory / "piped.txt").write_text(text)
        words = shell.arguments("sync", "/dev/stdin", "--to", "cache")
        shell.run(["sh", "-c", 'exec "$@" < piped.txt', "sh", *words])

    sync_piped("a")
    sync_piped("b")
    assert listed(shell) == {"a": True, "b": True}
    # Who left a list and is asked for otherwise is wanted again.
    hosts = write(shell, "hosts.txt", "b", "c")
    sync(shell, hosts)
    write(shell, "hosts.txt", "b")
    sync(shell, hosts)
    assert listed(shell) == {"a": True, "b": True, "c": False}
    sync_piped("c")
    assert listed(shell) == {"a": True, "b": True, "c": True}
