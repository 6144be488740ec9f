"""What a command says to a person is in its JSON document, too: problems, numbers, errors."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from rig.shell import COMMAND, Shell, shell

from mirror import schemas
from mirror.destinations import CacheDirectory
from mirror.quantities import number, size

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["shell"]


def stored(shell: Shell, *words: str, expect: int = 0) -> tuple[Any, str, str]:
    """A command's document, and what the same command says to a person."""
    command = [*COMMAND, *words, "--store", shell.store_url]
    document = shell.json([*command, "--json"], expect=expect)
    said = shell.run(command, expect=expect)
    return document, said.stdout, said.stderr


def make_edits(directory: Path) -> None:
    (directory / "sound.nix").write_text('{ networking.hostName = "other"; }')
    (directory / "broken.nix").write_text("{ networking.hostName = throw ''no name for you''; }")


def test_each_problem_of_a_target_is_told_and_so_is_what_each_edit_adds(shell: Shell) -> None:
    make_edits(shell.directory)
    shell.write_list(
        "laptop = DEMO#laptop edits=dnsmasq,wireguard,./broken.nix",
        "gone = DEMO#no-such-host",
    )
    plan = shell.arguments("plan", "hosts.txt", "--to", "cache")
    document = shell.json([*plan, "--json"], expect=1)
    said = shell.run(plan, expect=1)
    by_name = {(each["name"], each["edit"]): each for each in document["problems"]}
    assert by_name.keys() == {("laptop", "broken"), ("gone", None)}
    for each in document["problems"]:
        assert each["message"] in said.stderr
    assert "no name for you" in by_name["laptop", "broken"]["message"]
    (laptop,) = document["targets"]
    for notice in laptop["notices"]:
        assert f"  note: {notice}\n" in said.stdout
    costs = {each["edit"]: each for each in laptop["edit_costs"]}
    cost = costs["dnsmasq"]
    assert cost["applies"]
    adds = f"dnsmasq adds {number(cost['paths'], 'path')}, {size(cost['nar_bytes'])}"
    assert f"  {adds}\n" in said.stdout
    assert not costs["wireguard"]["applies"]
    assert f"  wireguard does not apply: {costs['wireguard']['problem']}\n" in said.stdout
    (copied,) = re.findall(r"this machine \(evaluation\) +([0-9,]+) ", said.stdout)
    assert copied == f"{len(document['copy']):,}"
    totals = document["totals"]
    (total,) = re.findall(r"^total +(.*)$", said.stdout, re.MULTILINE)
    assert total.split("  ")[0] == f"{totals['paths']:,}"
    assert f" {size(totals['download_bytes'])}+" in total
    room = document["room"]
    assert room["fits"]
    assert f"this needs at least {size(room['needed_bytes'])}" in said.stdout

    sync = shell.arguments("sync", "hosts.txt", "--to", "cache")
    synced = shell.json([*sync, "--json"], expect=1)
    assert synced["problems"] == document["problems"]
    assert not synced["complete"]
    (kept,) = synced["generations"]
    assert (kept["target"], kept["number"], kept["unchanged"]) == ("laptop", 1, False)
    assert kept["complete"]
    assert synced["destination"] == str(shell.directory / "cache")
    assert synced["summary"]["received_bytes"] >= document["totals"]["download_bytes"]
    assert synced["on_change"] is None
    again = shell.json([*sync, "--json"], expect=1)
    assert again["generations"] == [{**kept, "unchanged": True}]
    assert again["summary"]["received_bytes"] == 0
    assert again["present"]


def test_what_a_budget_has_no_room_for_is_told(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop level=full edits=dnsmasq budget=1k")
    plan = shell.arguments("plan", "hosts.txt", "--to", "cache")
    (target,) = shell.json([*plan, "--json"])["targets"]
    said = shell.run(plan).stdout
    left_out = target["left_out"]
    assert {each["kind"] for each in left_out} == {"package", "edit"}
    assert f"{left_out[0]['name']} ({left_out[0]['nar_bytes']:,} bytes)" in said
    assert f"the edit dnsmasq, which would add {left_out[-1]['nar_bytes']:,} bytes" in said
    named = [each["name"] for each in left_out if each["kind"] == "package"]
    more = re.search(r"and (\d+) more packages", said)
    assert len(named) == 5 + int(more[1] if more else 0)


def test_a_check_tells_what_would_be_built_and_what_to_do(shell: Shell) -> None:
    make_edits(shell.directory)
    shell.write_list("laptop = DEMO#laptop edits=./broken.nix,wireguard", "gone = DEMO#nothing")
    (shell.directory / "cache").mkdir()
    (shell.directory / "cache/nix-cache-info").write_text("StoreDir: /nix/store\n")
    document, said, _ = stored(shell, "check", "hosts.txt", "--to", "cache", expect=1)
    base, broken, other, gone = document["targets"]
    assert document["mending"] == "prefetch sync hosts.txt --to cache"
    assert document["mending"] in said
    assert f"laptop: not ready, {number(len(base['missing']), 'cause')}" in said
    for each in base["missing"]:
        assert each["path"] == each["paths"][0]["path"]
    assert (broken["ready"], broken["applies"]) == (False, True)
    assert broken["problem"] in said.replace("\n  ", "\n")
    assert (other["ready"], other["applies"]) == (True, False)
    assert f"does not apply, {other['problem']}" in said
    assert gone["problem"].splitlines()[0] in said
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache", "--keep-going"), expect=1)
    document, said, _ = stored(shell, "check", "hosts.txt", "--to", "cache", expect=1)
    build = document["targets"][0]["build"]
    assert f"laptop: ready, {number(len(build), 'derivation')} to build\n" in said


def test_other_reports_name_what_they_are_about(shell: Shell) -> None:
    shell.write_list("ledger = DEMO#ledger")
    place = str(shell.directory / "cache")
    (shell.directory / "cache").mkdir()
    (shell.directory / "cache/nix-cache-info").write_text("StoreDir: /nix/store\n")
    document = shell.json([*COMMAND, "roots", "--to", "cache", "--json"])
    assert document["destination"] == place
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    (record,) = (shell.directory / "cache").glob("runs/*")
    record.write_text("{}")
    roots = [*COMMAND, "roots", "--to", "cache"]
    (unreadable,) = shell.json([*roots, "--json"])["unreadable"]
    said = shell.run(roots).stderr
    assert f"passed over: {unreadable['message']}\n  {unreadable['hint']}\n" in said
    words = ("why", "ledger", "bash", "--list", "hosts.txt", "--to", "nowhere")
    why, _, _ = stored(shell, *words, expect=3)
    assert why["error"]["message"]
    generate = [*COMMAND, "key", "generate", "mirror-1", "secret", "--json"]
    made = shell.json(generate)
    assert made["name"] == "mirror-1"
    assert shell.json([*COMMAND, "key", "show", "secret", "--json"]) == made
    assert shell.run([*COMMAND, "key", "show", "secret"]).stdout == f"{made['public_key']}\n"


def test_an_export_is_a_document_too(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop", "gone = DEMO#nothing")
    export = shell.arguments("export", "hosts.txt")
    document = shell.json([*export, "--json"], expect=1)
    said = shell.run(export, expect=1)
    assert [each["path"] for each in document["paths"]] == said.stdout.splitlines()
    paths = set(said.stdout.splitlines())
    assert {*document["roots"]} <= paths
    assert all({*each["references"]} <= paths for each in document["paths"])
    (problem,) = document["problems"]
    assert problem["message"] in said.stderr
    shell.run([*export, "--json", "--format", "dot"], expect=2)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("plan", "absent.txt"), 2),
        (("sync", "hosts.txt", "--to", "https://not.a/destination"), 2),
        (("check", "hosts.txt", "--valid-paths", "absent"), 2),
        (("sync", "hosts.txt", "--limit-rate", "fast"), 2),
        (("roots", "--to", "a-file/cache"), 3),
        (("verify", "absent"), 3),
        (("prune", "--removed"), 2),
        (("sign", "--signing-key", "absent"), 2),
        (("key", "show", "absent"), 2),
        (("why",), 2),
        (("why", "--nonsense"), 2),
    ],
)
def test_an_error_that_ends_a_command_is_a_document(
    shell: Shell, words: tuple[str, ...], code: int
) -> None:
    shell.write_list("laptop = DEMO#laptop")
    (shell.directory / "a-file").write_text("")
    ended = shell.run([*COMMAND, *words, "--json"], expect=code)
    document = json.loads(ended.stdout)
    assert document.keys() == {"version", "error"}
    assert document["error"]["exit_code"] == code
    assert document["error"]["message"] in ended.stderr
    assert (document["error"]["hint"] or "") in ended.stderr
    assert shell.run([*COMMAND, *words], expect=code).stdout == ""


def test_a_run_that_is_skipped_says_so(shell: Shell) -> None:
    shell.write_list("ledger = DEMO#ledger")
    words = ("sync", "hosts.txt", "--to", "cache", "--skip-if-running", "--json")

    async def skipped() -> subprocess.CompletedProcess[str]:
        async with CacheDirectory.open(shell.directory / "cache"):
            return await asyncio.to_thread(shell.run, shell.arguments(*words))

    said = asyncio.run(skipped())
    document = json.loads(said.stdout)
    assert said.stderr == f"skipped: {document['skipped']}\n"


def test_what_became_of_the_command_on_change_is_told(shell: Shell) -> None:
    shell.write_list("ledger = DEMO#ledger")
    sync = ("sync", "hosts.txt", "--json", "--to")
    well = shell.json(shell.arguments(*sync, "one", "--on-change", "true"))
    assert well["on_change"] == {"command": "true", "problem": None}
    failed = shell.run(shell.arguments(*sync, "two", "--on-change", "exit 7"), expect=1)
    document = json.loads(failed.stdout)
    assert document["on_change"]["problem"] in failed.stderr
    assert "exit code 7" in document["on_change"]["problem"]
    assert document["complete"]
    command = "touch started; exec sleep 600"
    words = shell.arguments(*sync, "three", "--on-change", command)
    with subprocess.Popen(
        words, cwd=shell.directory, env=shell.environment(), stdout=-1, stderr=-1, text=True
    ) as process:
        while not (shell.directory / "started").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate()
    assert process.returncode == 130, said
    assert json.loads(printed)["on_change"]["problem"] == "interrupted"


def test_schemas_are_printed(shell: Shell) -> None:
    names = shell.run([*COMMAND, "schema"]).stdout.split()
    assert {"plan", "sync", "check", "status", "error"} <= {*names}
    for name in names:
        assert shell.run([*COMMAND, "schema", name]).stdout == schemas.schema_text(name)
    assert "plan" in shell.run([*COMMAND, "schema", "nothing"], expect=2).stderr
