"""What a run came to: the same in its text, its document, the run records and the status page."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from rig.serving import serve_directory

from mirror.quantities import size

if TYPE_CHECKING:
    from rig.shell import Shell


def recorded(shell: Shell) -> dict[str, Any]:
    """The run records, by target."""
    roots = shell.json([*shell.command, "roots", "--to", "cache", "--json"])
    return {each["target"]: each for each in roots["runs"]}


async def test_every_surface_says_the_same(shell: Shell) -> None:
    sync = shell.arguments("sync", "hosts.txt", "--to", "cache")
    shell.write_list("host = DEMO#ledger", "same = DEMO#calendar")
    first = shell.json([*sync, "--json"])["summary"]
    assert (first["new"], first["unchanged"], first["failed"]) == (["host", "same"], [], [])
    assert first["received_bytes"] > 0
    assert {each["state"] for each in recorded(shell).values()} == {"new"}

    shell.write_list("host = DEMO#laptop budget=1k", "same = DEMO#calendar", "bad = DEMO#no-such")
    told = shell.run(sync, expect=1).stdout.splitlines()
    runs = recorded(shell)
    states = {name: each["state"] for name, each in runs.items()}
    assert states == {"host": "new", "same": "unchanged", "bad": "failed"}
    closing = told[-1]
    assert "cache: 1 new, 1 unchanged, 1 failed; " in closing
    assert f"{size(runs['host']['received_bytes'])} fetched in " in closing
    assert any(line.startswith("host: generation 2, ") for line in told)
    changed = runs["host"]["changed"]
    assert changed["since"] == 1
    line = next(each for each in told if each.startswith("  since generation 1: "))
    assert f"; {changed['rebuilt']} rebuilt with the same name" in line
    first_change = changed["packages"][0]
    assert first_change["name"] in line

    async with serve_directory(shell.directory / "cache") as served:
        hosts = json.loads((await served.ask("/status.json")).body)["hosts"]
        status = {each["name"]: each for each in hosts}
        page = html.unescape((await served.ask("/")).body.decode())
    for name in ("state", "changed", "left_out", "received_bytes", "duration_seconds"):
        for host in ("host", "same"):
            assert status[host]["last_run"][name] == runs[host][name], (host, name)
    assert line.strip() in page

    # The next run finds nothing new, and what the generation had changed is still said.
    shell.write_list("host = DEMO#laptop budget=1k", "same = DEMO#calendar")
    again = shell.json([*sync, "--json"])["summary"]
    assert (again["new"], again["unchanged"]) == ([], ["host", "same"])
    assert (again["stored"], again["received_bytes"]) == (0, 0)
    later = recorded(shell)["host"]
    assert (later["state"], later["changed"]) == ("unchanged", changed)


def test_what_a_budget_leaves_out_is_said_everywhere(shell: Shell) -> None:
    sync = shell.arguments("sync", "hosts.txt", "--to", "cache")
    shell.write_list("host = DEMO#laptop budget=1k edits=dnsmasq level=sources")
    told = shell.run(sync).stdout.splitlines()
    left_out = recorded(shell)["host"]["left_out"]
    assert "the edit dnsmasq" in left_out
    assert told[-1].endswith(f"left out: {', '.join(left_out)} of host")
    document = shell.json([*sync, "--json"])
    assert document["summary"]["left_out"] == {"host": left_out}
