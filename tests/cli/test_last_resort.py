"""What nobody has foreseen ends in one message, too."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest
from rig.nixes import PROJECT

from mirror.cli.running import end_by
from mirror.errors import NotAvailableError

if TYPE_CHECKING:
    from pathlib import Path

GROUP: Final = "several"
NUMBERS: Final = ("EIO", "ENOMEM", "EACCES", "ELOOP", "ENAMETOOLONG", "ENFILE")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(5, "Input/output error", "/a/file"), 3, "error: /a/file: Input/output error"),
        (OSError(5, "Input/output error"), 3, "error: Input/output error"),
        (OSError(18, "Cross-device link", "/a", None, b"/b"), 3, "error: /a -> /b: Cross-device"),
        (MemoryError(), 3, "error: there is not enough memory"),
        (RuntimeError("can't start new thread"), 3, "error: no thread can be started"),
        (
            ExceptionGroup(GROUP, [OSError(5, "bad", "/a"), OSError(6, "worse")]),
            3,
            "error: /a: bad",
        ),
        (
            BaseExceptionGroup(
                GROUP,
                [asyncio.CancelledError(), ExceptionGroup(GROUP, [NotAvailableError("none")])],
            ),
            1,
            "error: none",
        ),
        (BaseExceptionGroup(GROUP, [asyncio.CancelledError(), KeyboardInterrupt()]), 130, "interr"),
        (KeyError("x"), 3, "error: this is a bug in prefetch: KeyError: 'x'"),
    ],
)
def test_an_unforeseen_error_is_one_message(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_by(error) == code
    shown = capsys.readouterr().err
    assert shown.startswith(said)
    assert "Traceback" not in shown


def test_the_traceback_of_a_fault_is_shown_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    end_by(KeyError("x"))
    assert "PREFETCH_TRACEBACK=1" in capsys.readouterr().err
    monkeypatch.setenv("PREFETCH_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError) as raised:
        divmod(1, 0)
    end_by(raised.value)
    assert 'test_last_resort.py", line' in capsys.readouterr().err


@pytest.mark.parametrize("number", NUMBERS)
def test_what_the_kernel_refuses_of_a_file_is_said_with_its_name(
    number: str, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("x = ./x.nix#x\n")
    inject = [f"-P{tmp_path}/list.txt", "-e", f"inject=openat:error={number}"]
    ended = subprocess.run(
        [
            "strace",
            "-f",
            "-qq",
            "-o/dev/null",
            "-eopenat",
            *inject,
            sys.executable,
            "-m",
            "mirror",
            "plan",
            f"{tmp_path}/list.txt",
        ],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith(f"error: the list {tmp_path}/list.txt cannot be read: ")
    assert ended.stderr.count("error:") == 1


@pytest.mark.parametrize("kibibytes", [60_000, 80_000])
def test_too_little_memory_is_said(kibibytes: int, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("x = ./x.nix#x\n")
    program = [sys.executable, "-m", "mirror", "plan", "list.txt", "--to", "cache"]
    ended = subprocess.run(
        ["sh", "-c", f'ulimit -v {kibibytes} && exec "$@"', "sh", *program],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 3, ended.stderr
    assert ended.stderr.startswith("error: ")
    assert "Traceback" not in ended.stderr
