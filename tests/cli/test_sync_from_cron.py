"""``sync`` as cron runs it: quiet, never twice at once, and telling others of what is new."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from mirror.destinations import CacheDirectory

if TYPE_CHECKING:
    from pathlib import Path

    from rig.shell import Shell

TOLD = 'echo "$PREFETCH_RESULT at $PREFETCH_DESTINATION: $PREFETCH_TARGETS" >> told'


def sync(shell: Shell, *words: str, cache: str | None = None) -> list[str]:
    return shell.arguments("sync", "hosts.txt", "--to", "cache", *words, cache=cache)


def test_quiet_says_nothing_until_there_is_something_to_say(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    quiet = sync(shell, "--quiet", "--substituter", "file:///no/cache")
    first = shell.run(quiet)
    assert "laptop: generation 1, " in first.stdout
    assert "not used: file:///no/cache" in first.stderr
    for more in ([], ["--json"], ["--ask-upstream", "--refresh"]):
        again = shell.run([*quiet, *more])
        assert (again.stdout, again.stderr) == ("", "")
    shell.write_list("laptop = DEMO#laptop", "shell = DEMO#default")
    assert "shell: generation 1, " in shell.run(quiet).stdout
    shell.write_list("laptop = DEMO#laptop", "broken = DEMO#no-such")
    failed = shell.run(quiet, expect=1)
    assert "no-such" in failed.stderr
    assert "not used: file:///no/cache" in failed.stderr
    away = shell.run(sync(shell, "--quiet", cache="file:///no/cache"), expect=1)
    assert "file:///no/cache is not a binary cache" in away.stderr


async def test_a_second_run_is_skipped_where_the_user_says_so(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    async with CacheDirectory.open(shell.directory / "cache"):
        refused = shell.run(sync(shell), expect=3)
        assert "in use by another run" in refused.stderr
        for more in ([], ["--quiet"]):
            skipped = shell.run(sync(shell, "--skip-if-running", *more))
            assert skipped.stdout == ""
            assert len(skipped.stderr.splitlines()) == 1
            assert f"process {os.getpid()} on" in skipped.stderr
            assert "since 20" in skipped.stderr
    assert not list((shell.directory / "cache").glob("*.narinfo"))
    shell.run(sync(shell, "--skip-if-running"))
    assert list((shell.directory / "cache").glob("*.narinfo"))


def test_a_command_is_run_when_something_changed_and_only_then(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop", "shell = DEMO#default")
    told = shell.directory / "told"
    first = shell.run(sync(shell, "--json", "--on-change", f"{TOLD}; echo sa''id"))
    assert told.read_text() == f"complete at {shell.directory}/cache: laptop shell\n"
    assert first.stdout.startswith("{")
    assert "said" not in first.stdout
    assert "said" in first.stderr
    shell.run(sync(shell, "--on-change", TOLD))
    assert len(told.read_text().splitlines()) == 1
    shell.write_list("laptop = DEMO#laptop", "ledger = DEMO#ledger", "broken = DEMO#no-such")
    shell.run(sync(shell, "--on-change", TOLD), expect=1)
    assert told.read_text().splitlines()[1:] == [f"incomplete at {shell.directory}/cache: ledger"]


@pytest.mark.parametrize(
    ("command", "how"), [("exit 7", "exit code 7"), ("kill -9 $$", "signal 9")]
)
def test_a_command_that_fails_is_reported(shell: Shell, command: str, how: str) -> None:
    shell.write_list("ledger = DEMO#ledger")
    failed = shell.run(sync(shell, "--on-change", command), expect=1)
    assert f"({how}): {command}" in failed.stderr
    assert "ledger: generation 1, " in failed.stdout
    # Nothing is new any more: the command is not run again.
    shell.run(sync(shell, "--on-change", command))


def test_an_interruption_ends_the_command_too(shell: Shell) -> None:
    shell.write_list("ledger = DEMO#ledger")
    process = subprocess.Popen(
        sync(shell, "--on-change", "(touch started; exec sleep 600) & wait"),
        cwd=shell.directory,
        env=shell.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for(shell.directory / "started", process)
    process.send_signal(signal.SIGINT)
    # The command has the pipes, too: they are at their end once it has ended.
    _, said = process.communicate(timeout=200)
    assert process.returncode == 130, said
    assert "Traceback" not in said


def _wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
