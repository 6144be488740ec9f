"""Files that a user names and that are none: waited for until an interruption, or refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from rig.nixes import PROJECT

from mirror.formats.signing import SecretKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rig.shell import Shell

PROGRAM: Final = [sys.executable, "-m", "mirror"]
PATIENCE: Final = 60.0
DERIVATION: Final = '{ a = derivation { name = "a"; builder = "x"; system = "x"; }; }\n'


def started(
    arguments: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=directory,
        env={**(environment or os.environ), "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_open(process: int, file: Path) -> None:
    """Wait until a process has a file open."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if str(file) in map(target, opened(process)):
            return
        time.sleep(0.02)
    pytest.fail(f"{file} is never opened")


def target(descriptor: Path) -> str:
    """What a descriptor of a process is; it may be closed by now."""
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def opened(process: int) -> Iterator[Path]:
    try:
        yield from Path(f"/proc/{process}/fd").iterdir()
    except OSError:
        return


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "pipe"],
        ["check", "good.txt", "--valid-paths", "pipe"],
        ["key", "show", "pipe"],
        ["serve", "cache", "--signing-key", "pipe"],
    ],
    ids=lambda words: words[0],
)
def test_a_pipe_is_waited_for_until_an_interruption(
    shell: Shell, arguments: list[str], sent: signal.Signals
) -> None:
    pipe = shell.directory / "pipe"
    os.mkfifo(pipe)
    (shell.directory / "good.txt").write_text("x = ./x.nix#x\n")
    with started(arguments, shell.directory, shell.environment()) as process:
        await_open(process.pid, pipe)
        process.send_signal(sent)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert said.startswith("interrupted: ")


def piped(data: bytes) -> int:
    """The end of a pipe that has all of ``data`` in it, and whose other end is closed."""
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return read


def test_a_pipe_is_read_as_a_file_would_be(tmp_path: Path) -> None:
    key = SecretKey.generate("mirror-1")
    pipe = piped(f"{key}\n".encode())
    shown = subprocess.run(
        [*PROGRAM, "key", "show", f"/dev/fd/{pipe}"],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        cwd=tmp_path,
        pass_fds=[pipe],
        capture_output=True,
        text=True,
        check=True,
    )
    os.close(pipe)
    assert shown.stdout == f"{key.public}\n"


def test_lists_and_valid_paths_come_by_pipes_too(shell: Shell) -> None:
    (shell.directory / "a.nix").write_text(DERIVATION)
    valid = b"/nix/store/00000000000000000000000000000000-x\n"
    files = {"list": b"a = ./a.nix#a level=runtime\n", "valid": valid}
    for name, data in files.items():
        (shell.directory / name).write_bytes(data)
    said = []
    for kind in ("file", "pipe"):
        pipes = [piped(data) for data in files.values()] if kind == "pipe" else []
        # Beside the list: relative paths are relative to it.
        (shell.directory / "fd").symlink_to("/dev/fd") if pipes else None
        named = [f"/dev/fd/{each}" for each in pipes] or list(files)
        if pipes:
            text = files["list"].replace(b"./a.nix", str(shell.directory / "a.nix").encode())
            os.close(pipes[0])
            pipes[0] = piped(text)
            named[0] = f"/dev/fd/{pipes[0]}"
        checked = subprocess.run(
            [*PROGRAM, "check", named[0], "--valid-paths", named[1], "--store", shell.store_url],
            cwd=shell.directory,
            env=shell.environment(),
            pass_fds=pipes,
            capture_output=True,
            text=True,
            check=False,
        )
        said.append((checked.returncode, checked.stdout.partition("\n")[0]))
        for each in pipes:
            os.close(each)
    assert said[0] == said[1]
    assert said[0][1].startswith("a: ")


@pytest.mark.parametrize("arguments", [["plan"], ["key", "show"]], ids=" ".join)
def test_what_never_ends_is_given_up(arguments: list[str], tmp_path: Path) -> None:
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        ended = subprocess.run(
            [*PROGRAM, *arguments, "/dev/stdin"],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            cwd=tmp_path,
            stdin=endless.stdout,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        endless.kill()
    assert ended.returncode == 2
    assert "/dev/stdin" in ended.stderr
    assert "more than" in ended.stderr


def test_no_pipe_is_waited_for_that_others_would_read(shell: Shell) -> None:
    """What Nix or git reads, which look at no interruption then."""
    os.mkfifo(shell.directory / "pipe")
    (shell.directory / "pipe.nix").symlink_to("pipe")
    (shell.directory / "a.nix").write_text(DERIVATION)
    for line, code in (
        ("x = ./a.nix#a edits=./pipe.nix", 2),
        ("x = ./a.nix#a args=./pipe", 2),
        ("x = ./pipe.nix#a", 1),
    ):
        (shell.directory / "list.txt").write_text(f"{line}\n")
        refused = shell.run(shell.arguments("plan", "list.txt", "--to", "cache"), expect=code)
        assert "pipe" in refused.stderr
        assert "a pipe, not a regular file" in refused.stderr
    (shell.directory / "list.txt").write_text("x = ./a.nix#a\n")
    settings = f"{shell.nix.environment['NIX_CONFIG']}\nnetrc-file = {shell.directory}/pipe\n"
    refused = shell.run(
        shell.arguments("plan", "list.txt", "--to", "cache"), expect=2, NIX_CONFIG=settings
    )
    assert f"the netrc file {shell.directory}/pipe cannot be read" in refused.stderr


def test_a_list_may_come_by_standard_input(shell: Shell) -> None:
    """It is in the working directory, and no run later can miss what was on it."""
    (shell.directory / "it.nix").write_text(
        '{ a = derivation { name = "a"; system = "x86_64-linux"; builder = "/bin/sh"; }; }'
    )
    synced = subprocess.run(
        shell.arguments("sync", "-", "--to", "cache"),
        cwd=shell.directory,
        env=shell.environment(),
        input=b"a = ./it.nix#a\n",
        capture_output=True,
        check=False,
    )
    assert synced.returncode == 0, synced.stderr
    (run,) = shell.json([*PROGRAM, "roots", "--to", "cache", "--json"])["runs"]
    assert run["listed"]
    refused = shell.run(shell.arguments("plan", "-", "--to", "cache"), expect=2)
    assert "no target in -" in refused.stderr
