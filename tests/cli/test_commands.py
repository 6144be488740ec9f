"""The program as a user meets it: what it prints, where, and what it exits with."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rig.running import run
from rig.servers import Reply, Server
from rig.shell import COMMAND, THREE_TARGETS

from mirror.formats.narinfo import parse_narinfo
from mirror.formats.signing import PublicKey
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from rig.shell import Shell


def test_help_names_every_command_and_the_version_is_told(shell: Shell) -> None:
    helped = shell.run([*COMMAND, "--help"]).stdout
    for command in ("plan", "sync", "roots", "key", "demo"):
        assert command in helped
    assert shell.run([*COMMAND, "--version"]).stdout.startswith("prefetch ")


def test_what_is_imported_at_once_is_left_out_of_the_search_for_garbage(shell: Shell) -> None:
    launcher = (
        "import gc, mirror.cli; from mirror.cli.commands import roots\n"
        "async def execute(to, json): return 0 if gc.isenabled() and gc.get_freeze_count() else 1\n"
        "roots.execute = execute; mirror.cli.main()"
    )
    shell.run([sys.executable, "-c", launcher, "roots"])


def test_what_the_encoding_of_output_lacks_is_escaped(shell: Shell) -> None:
    (shell.directory / "größe").mkdir()
    (shell.directory / "größe/nix-cache-info").write_text("StoreDir: /nix/store\n")
    command = [*COMMAND, "roots", "--to", str(shell.directory / "größe")]
    environment = shell.environment(PYTHONIOENCODING="ascii")
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6\\xdfe keeps nothing yet" in done.stdout


@pytest.mark.parametrize(
    ("streams", "code"), [(">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0), (">/dev/full", 3)]
)
def test_closed_and_full_streams_are_survived(shell: Shell, streams: str, code: int) -> None:
    name = shell.write_list("DEMO#laptop")
    command = shell.arguments("plan", name, "--to", "cache")
    shell.run(["sh", "-c", f'exec "$@" {streams}', "sh", *command], expect=code)


def test_a_sync_goes_on_where_nobody_can_be_told(shell: Shell) -> None:
    name = shell.write_list("DEMO#laptop")
    command = shell.arguments("sync", name, "--to", "cache")
    shell.run(["sh", "-c", 'exec "$@" 2>/dev/full', "sh", *command])


def test_the_soft_limit_of_open_files_is_no_limit(shell: Shell) -> None:
    name = shell.write_list("DEMO#laptop")
    command = shell.arguments("sync", name, "--to", "cache")
    shell.run(["sh", "-c", 'ulimit -S -n 24 && exec "$@"', "sh", *command])


def test_a_cache_that_only_nix_can_ask_is_left_out(shell: Shell) -> None:
    name = shell.write_list("DEMO#laptop")
    others = "s3://bucket daemon /other/store http://cache.test?priority=first"
    settings = [
        shell.nix.environment["NIX_CONFIG"],
        f"substituters = {others} {shell.upstream.cache_url}",
        f"trusted-public-keys = {shell.upstream.public_key}",
    ]
    words = ["plan", name, "--to", "cache", "--store", shell.evaluation.url, "--no-archives"]
    planned = shell.run([*COMMAND, *words, "--json"], NIX_CONFIG="\n".join(settings))
    assert json.loads(planned.stdout)["substitute"]
    for cache in others.split():
        assert cache.partition("?")[0] in planned.stderr
    asked = shell.run(shell.arguments("plan", name, cache="s3://bucket"), expect=2)
    assert "not the URL of a binary cache: s3://bucket" in asked.stderr


def test_a_line_that_cannot_be_read_stops_everything_and_is_named(shell: Shell) -> None:
    shell.write_list("# hosts", "pi = DEMO#pi", "laptop = DEMO#laptop levle=full")
    failed = shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"), expect=2)
    assert "hosts.txt:3:" in failed.stderr
    assert "levle" in failed.stderr
    assert failed.stdout == ""
    assert not (shell.directory / "cache").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["sync", "no-such-list.txt"], "no-such-list.txt"),
        (["sync", "hosts.txt", "--no-such-option"], "--no-such-option"),
        (["sync", "hosts.txt", "--level", "everything"], "everything"),
        (["sync", "hosts.txt", "--limit-rate", "fast"], "fast"),
        (["sync", "hosts.txt", "--to", "ftp://somewhere"], "ftp://somewhere"),
        (["sync", "hosts.txt", "--jobs", "0"], "--jobs"),
        (["plan", "hosts.txt", "hosts.txt"], "pi"),
    ],
)
def test_a_request_that_cannot_be_understood_exits_with_2(
    shell: Shell, words: list[str], named: str
) -> None:
    shell.write_list("pi = DEMO#pi")
    failed = shell.run(shell.arguments(*words), expect=2)
    assert named in failed.stderr
    assert failed.stdout == ""


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("pi = DEMO#pi edits=hosts,./none.nix", "hosts.txt: pi: edits=none: there is no /"),
        ("it = ./it.nix#it args=./none.nix", "hosts.txt: it: args: there is no /"),
    ],
)
def test_a_file_that_a_list_names_has_to_be_there(shell: Shell, line: str, named: str) -> None:
    shell.write_list("laptop = DEMO#laptop", line)
    failed = shell.run(shell.arguments("plan", "hosts.txt"), expect=2)
    assert named in failed.stderr
    assert "evaluating" not in failed.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [(["roots"], "there is no binary cache in"), (["plan", "hosts.txt"], "not a binary cache")],
)
def test_what_is_no_cache_is_not_taken_for_one(shell: Shell, command: list[str], said: str) -> None:
    shell.write_list("laptop = DEMO#laptop")
    (shell.directory / "mine").mkdir()
    (shell.directory / "mine/notes").touch()
    failed = shell.run([*COMMAND, *command, "--to", "mine"], expect=3)
    assert said in failed.stderr
    assert failed.stdout == ""


def test_a_list_without_targets_is_no_request(shell: Shell) -> None:
    shell.write_list("# nothing yet")
    assert "no target" in shell.run(shell.arguments("plan", "hosts.txt"), expect=2).stderr


def test_a_target_that_cannot_be_evaluated_fails_alone(shell: Shell) -> None:
    shell.write_list("broken = DEMO#no-such-host", "ledger = DEMO#ledger")
    done = shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"), expect=1)
    assert "broken" in done.stderr
    assert "no-such-host" in done.stderr
    assert "ledger: generation 1" in done.stdout
    again = shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"), expect=1)
    same, closing = again.stdout.splitlines()
    assert same == f"nothing new at {shell.directory}/cache: ledger (1)"
    assert closing.startswith(
        f"{shell.directory}/cache: 0 new, 1 unchanged, 1 failed; 0 paths stored, 0 B fetched in 0:"
    )


def test_without_nix_it_says_how_to_get_it(shell: Shell) -> None:
    shell.write_list("pi = DEMO#pi")
    failed = shell.run(
        shell.arguments("sync", "hosts.txt", "--to", "cache"), expect=3, PATH="/nonexistent"
    )
    assert "`nix`" in failed.stderr
    assert "install Nix" in failed.stderr


def test_a_destination_that_cannot_be_used_is_named(shell: Shell) -> None:
    shell.write_list("pi = DEMO#pi")
    (shell.directory / "file").write_text("not a directory")
    failed = shell.run(shell.arguments("sync", "hosts.txt", "--to", "file/cache"), expect=3)
    assert "user/file: File exists" in failed.stderr
    (shell.directory / "photos").mkdir()
    (shell.directory / "photos/one.jpeg").touch()
    refused = shell.run(shell.arguments("sync", "hosts.txt", "--to", "photos"), expect=3)
    assert "photos" in refused.stderr
    assert [each.name for each in (shell.directory / "photos").iterdir()] == ["one.jpeg"]


def test_plan_prints_a_table_and_writes_nothing(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    shown = shell.run(shell.arguments("plan", "hosts.txt", "--to", "cache")).stdout
    assert shell.upstream.cache_url in shown
    assert "largest:" in shown
    assert "would be built" in shown
    assert "nixosConfigurations.laptop" in shown
    assert not (shell.directory / "cache").exists()


def test_the_plan_as_json_has_the_promised_shape(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop", "ledger = DEMO#ledger level=sources")
    document = shell.json(shell.arguments("plan", "hosts.txt", "--to", "cache", "--json"))
    assert document.keys() == {
        *("version", "targets", "build", "substitute", "fetch", "present", "unobtainable"),
        *("totals", "destination", "problems", "notices", "copy", "room"),
        *("incomplete", "refused", "built_for_refusals"),
    }
    assert [each["name"] for each in document["targets"]] == ["laptop", "ledger"]
    assert document["targets"][0].keys() == {
        *("name", "installable", "level", "root", "edits", "edit_costs", "left_out", "notices"),
    }
    assert document["substitute"][0].keys() == {"path", "from", "download_bytes", "nar_bytes"}
    assert document["fetch"][0].keys() == {
        *("path", "method", "urls", "hash", "mode", "derivation"),
    }
    assert {each["method"] for each in document["fetch"]} == {
        *("download", "unpack", "git", "builder")
    }
    assert document["totals"].keys() == {"paths", "download_bytes", "nar_bytes"}
    assert document["totals"]["download_bytes"] > 0


def test_sync_then_roots_then_nothing_new(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop", "shell = DEMO#default")
    sync = shell.arguments("sync", "hosts.txt", "--to", "cache")
    first = shell.json([*sync, "--json"])
    assert {each["result"] for each in first["outcomes"]} == {"stored"}
    assert all(each["source"] for each in first["outcomes"])
    assert first["only_copies"] == []
    listed = shell.run([*COMMAND, "roots", "--to", "cache"]).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["target", "laptop", "shell"]
    assert "refreshed" in listed[0]
    kept = shell.json([*COMMAND, "roots", "--to", "cache", "--json"])["generations"]
    assert [(each["target"], each["number"]) for each in kept] == [("laptop", 1), ("shell", 1)]
    again = shell.run(sync)
    assert again.stdout.splitlines() == [
        "nothing new at " + str(shell.directory / "cache") + ": laptop (1), shell (1)"
    ]
    assert again.stderr == ""


def test_a_dry_run_is_a_plan(shell: Shell) -> None:
    shell.write_list("ledger = DEMO#ledger")
    options = ("hosts.txt", "--to", "cache", "--json")
    dry = shell.json(shell.arguments("sync", *options, "--dry-run"))
    planned = shell.json(shell.arguments("plan", *options))
    for document in (dry, planned):  # others write meanwhile
        del document["room"]["free_bytes"], document["room"]["free_files"]
    assert dry == planned
    assert not (shell.directory / "cache").exists()


def test_what_is_built_here_is_signed_with_the_given_key(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    generate = [*COMMAND, "key", "generate", "mirror-1", "secret"]
    public = shell.run(generate).stdout.strip()
    assert PublicKey.parse(public).name == "mirror-1"
    assert (shell.directory / "secret").stat().st_mode & 0o777 == 0o600
    assert "already exists" in shell.run(generate, expect=2).stderr
    shell.run(
        shell.arguments(
            *("sync", "hosts.txt", "--to", "cache", "--build", "--signing-key", "secret")
        )
    )
    root = shell.json([*COMMAND, "roots", "--to", "cache", "--json"])["generations"][0]["root"]
    out = run(
        shell.nix, "nix-store", "--query", "--outputs", root, store=shell.evaluation
    ).stdout.strip()
    keys = f"{shell.upstream.public_key} {public}"
    client = shell.scratch_store("store")
    copy = ("nix", "copy", "--from", f"file://{shell.directory / 'cache'}", "--to", client.url, out)
    run(shell.nix, *copy, config=[f"trusted-public-keys = {keys}"], offline=True)


@pytest.mark.parametrize("name", ["", "a:b"])
def test_a_key_whose_name_no_key_can_have_is_no_request(shell: Shell, name: str) -> None:
    completed = shell.run([*COMMAND, "key", "generate", name, "key.secret"], expect=2)
    assert "a key cannot be called" in completed.stderr
    assert "such as" in completed.stderr
    assert not (shell.directory / "key.secret").exists()


def test_a_plan_of_nothing_does_not_say_that_all_is_there(shell: Shell) -> None:
    hosts = shell.write_list("gone = ./gone.nix#it")
    completed = shell.run(shell.arguments("plan", hosts, "--to", "cache"), expect=1)
    assert completed.stdout == ""
    assert f"gone (./gone.nix#it): there is no {shell.directory}/gone.nix" in completed.stderr


def test_a_key_that_cannot_be_read_is_named(shell: Shell) -> None:
    shell.write_list("ledger = DEMO#ledger")
    (shell.directory / "secret").write_text("not a key\n")
    words = ("sync", "hosts.txt", "--to", "cache", "--signing-key", "secret")
    assert "secret" in shell.run(shell.arguments(*words), expect=2).stderr
    words = ("plan", "hosts.txt", "--to", "cache", "--trusted-key", "nonsense")
    assert "nonsense" in shell.run(shell.arguments(*words), expect=2).stderr


async def test_an_interrupted_sync_shows_nothing_half_done_and_goes_on(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    async with Server(files=shell.upstream.cache_directory) as server:
        plan = shell.json(shell.arguments("plan", "hosts.txt", "--to", "cache", "--json"))
        path = StorePath.parse(max(plan["substitute"], key=lambda each: each["nar_bytes"])["path"])
        narinfo = shell.upstream.cache_directory / f"{path.hash_part}.narinfo"
        name = f"/{parse_narinfo(narinfo.read_bytes()).url}"
        body = (shell.upstream.cache_directory / name[1:]).read_bytes()
        server.on(name, Reply(body=body, hang=True))
        arguments = shell.arguments("sync", "hosts.txt", "--to", "cache", cache=server.url)
        process = await asyncio.create_subprocess_exec(
            *arguments,
            cwd=shell.directory,
            env=shell.environment(),
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(200):
            while not server.asked(name):  # noqa: ASYNC110 - another process sets it
                await asyncio.sleep(0.02)
        locked = await _run(shell, arguments)
        assert locked == 3
        process.send_signal(signal.SIGINT)
        _, complaint = await process.communicate()
        assert process.returncode == 130
        assert b"interrupted" in complaint
        assert b"Traceback" not in complaint
        assert not list((shell.directory / "cache/.prefetch").glob("staging/*"))
        shell_list = shell.json([*COMMAND, "roots", "--to", "cache", "--json"])
        assert shell_list["generations"] == []
        server.on(name, Reply(body=body))
        stored = len(list((shell.directory / "cache").glob("*.narinfo")))
        assert await _run(shell, arguments) == 0
        assert len(list((shell.directory / "cache").glob("*.narinfo"))) > stored > 0


async def _run(shell: Shell, arguments: list[str]) -> int | None:
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=shell.directory,
        env=shell.environment(),
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


def test_an_interruption_while_modules_are_imported_is_no_traceback(shell: Shell) -> None:
    """A module that is slow to come, as all are from a cold disk, stands in for typer."""
    slow = "import time\nprint('importing', flush=True)\ntime.sleep(600)\n"
    (shell.directory / "typer.py").write_text(slow)
    path = f"{shell.directory}:{shell.environment()['PYTHONPATH']}"
    with subprocess.Popen(
        [*COMMAND, "--version"],
        env=shell.environment(PYTHONPATH=path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=200)
    assert process.returncode == 130
    assert said == ""


def test_output_that_nobody_reads_any_more_is_no_traceback(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        completed = subprocess.run(
            shell.arguments("plan", "hosts.txt", "--to", "cache", "--json"),
            cwd=shell.directory,
            env=shell.environment(),
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert b"Traceback" not in completed.stderr


def test_without_any_cache_nothing_is_planned_and_nothing_kept_is_replaced(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    roots = [*COMMAND, "roots", "--to", "cache", "--json"]
    before = shell.json(roots)
    away = shell.arguments("sync", "hosts.txt", "--to", "cache", cache="http://127.0.0.1:9")
    failed = shell.run(away, expect=1)
    assert "127.0.0.1:9" in failed.stderr
    assert "none of the caches can be reached" in failed.stderr
    after = shell.json(roots)
    assert after["generations"] == before["generations"]
    assert [each["complete"] for each in before["runs"]] == [True]
    (run_record,) = after["runs"]
    assert run_record["generation"] == 1
    assert not run_record["complete"]
    told = shell.run(roots[:-1]).stdout
    assert "laptop: the last run" in told
    assert "none of the caches can be reached" in told


def test_of_many_targets_a_plan_says_once_what_is_the_same(shell: Shell) -> None:
    (shell.directory / "it.nix").write_text(THREE_TARGETS)
    names = [f"host-{n}" for n in range(9)]
    shell.write_list(*(f"{name} = ./it.nix#a" for name in names), "other = ./it.nix#b level=full")
    lines = shell.run(shell.arguments("plan", "hosts.txt", "--to", "cache")).stdout.splitlines()
    assert lines[:3] == [
        f"{', '.join(names[:8])} and 1 more: level rebuild",
        "other: level full",
        "",
    ]
