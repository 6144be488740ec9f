"""``rehearse`` as a person meets it: its lines, its receipt, and what Ctrl-C leaves behind."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rig.shell import Shell


def rehearse(shell: Shell, *words: str) -> list[str]:
    return [*shell.command, "rehearse", "hosts.txt", "--to", "cache", *words]


def test_a_rehearsal_says_how_it_went_and_roots_shows_it(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop edits=hosts,wireguard")
    (shell.directory / "cache").mkdir()
    (shell.directory / "cache/nix-cache-info").write_text("StoreDir: /nix/store\n")
    missing = shell.run(rehearse(shell), expect=1)
    assert "prefetch sync" in missing.stderr
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    roots = [*shell.command, "roots", "--to", "cache"]
    assert "rehears" not in shell.run(roots).stdout
    lines = shell.run(rehearse(shell)).stdout.splitlines()
    assert lines[0].startswith("laptop: rehearsed, builds without a network (")
    assert lines[1].startswith("laptop with hosts: rehearsed, builds without a network (")
    assert lines[2].startswith("laptop with wireguard: does not apply")
    assert "rehearsed 20" in shell.run(roots).stdout
    (kept,) = shell.json([*roots, "--json"])["generations"]
    assert kept["receipt"]["state"] == "rehearsed"
    assert kept["receipt"]["edits"]["hosts"] is None


def test_what_fails_is_told_in_nix_s_words_and_exits_with_1(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    shell.write_list("laptop = DEMO#laptop edits=dnsmasq")
    failed = shell.run(rehearse(shell, "--json"), expect=1)
    base, edit = json.loads(failed.stdout)["targets"]
    assert base["passed"]
    assert not edit["passed"]
    assert edit["possible"]
    assert edit["problem"] in failed.stderr
    assert (edit["hint"] or "") in failed.stderr
    assert "laptop with dnsmasq" in failed.stderr
    assert "rehearsal failed" in shell.run([*shell.command, "roots", "--to", "cache"]).stdout


def test_a_target_of_another_platform_is_left_out_and_the_others_count(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop", "pi = DEMO#pi")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    said = shell.run(rehearse(shell))
    laptop, pi, _ = said.stdout.splitlines()
    assert laptop.startswith("laptop: rehearsed")
    assert pi.startswith("pi: left out, it is for aarch64-linux")
    assert "error" not in said.stderr
    document = shell.json(rehearse(shell, "--json"))
    assert [(each["passed"], each["left_out"]) for each in document["targets"]] == [
        (True, False),
        (False, True),
    ]
    # Where nothing else is asked for, nothing is proven.
    alone = shell.run(rehearse(shell, "--only", "pi"), expect=1)
    assert "nothing was rehearsed" in alone.stderr
    # What has no generation is not left out: it was to be there.
    shell.write_list("laptop = DEMO#laptop", "other = DEMO#pi")
    assert "prefetch sync" in shell.run(rehearse(shell), expect=1).stderr


SLOW = """
let demo = import %s { }; in
{ it = derivation {
  name = "slow"; system = "x86_64-linux";
  builder = "${demo.packages.x86_64-linux.busybox}/bin/sh";
  args = [ "-c" "while :; do :; done" ]; }; }
"""
BUILDING = "prefetch-run-*/store/nix/store/*-slow.drv.chroot"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("while_there_is", ["prefetch-run-*/store/nix/store/*", BUILDING])
def test_an_interrupted_rehearsal_leaves_nothing(
    shell: Shell, number: int, while_there_is: str
) -> None:
    (shell.directory / "slow.nix").write_text(SLOW % shell.upstream.distribution)
    shell.write_list("slow = ./slow.nix#it")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    scratch = shell.directory / "temporary"
    scratch.mkdir()
    process = subprocess.Popen(
        rehearse(shell),
        cwd=shell.directory,
        env=shell.environment(TMPDIR=str(scratch)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    while not list(scratch.glob(while_there_is)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert list(scratch.iterdir()) == []
    assert not (shell.directory / "cache/receipts").exists()
