"""Nix's processes: how they are found, started, listened to and ended."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from mirror.errors import ToolError
from mirror.nix.command import INSTALL_HINT, Completed, Nix

if TYPE_CHECKING:
    from pathlib import Path


def completed(stderr: str) -> Completed:
    return Completed(arguments=("nix",), returncode=1, stdout=b"", stderr=stderr)


def program(directory: Path, name: str, text: str) -> Nix:
    """An executable that stands where Nix would be, to show how processes are treated."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    environment = {"PATH": f"{directory}:/usr/bin:/bin"}
    return Nix(program=str(path), version=(2, 34, 0), environment=environment)


async def test_no_nix_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no `nix`") as caught:
        await Nix.find({"PATH": str(tmp_path)})
    assert caught.value.hint == INSTALL_HINT


async def test_a_nix_that_is_too_old_is_said(tmp_path: Path) -> None:
    program(tmp_path, "nix", "echo 'nix (Nix) 2.3.16'")
    with pytest.raises(ToolError, match=r"Nix 2\.3\.16 .* is too old: 2\.8\.0 or later"):
        await Nix.find({"PATH": str(tmp_path)})


@pytest.mark.parametrize(
    ("said", "version", "name"),
    [
        ("nix (Nix) 2.34.8", (2, 34, 8), "Nix 2.34.8"),
        ("nix (Nix) 2.8", (2, 8, 0), "Nix 2.8.0"),
        ("nix (Nix) 2.35.0pre20260801_4f4c3a2", (2, 35, 0), "Nix 2.35.0"),
        ("nix (Determinate Nix 3.11.2) 2.31.1", (2, 31, 1), "Nix 2.31.1"),
        ("nix (Lix, like Nix) 2.93.0", (2, 18, 0), "Lix 2.93.0"),
        ("nix (Lix, like Nix) 2.94.0-pre20250807_a1b2c3d", (2, 18, 0), "Lix 2.94.0"),
        ("nix (Lix, like Nix) 2.92.0\nSystem type: x86_64-linux", (2, 18, 0), "Lix 2.92.0"),
    ],
)
async def test_versions_of_each_kind_of_nix_are_read(
    tmp_path: Path, said: str, version: tuple[int, int, int], name: str
) -> None:
    program(tmp_path, "nix", f"echo '{said}'")
    nix = await Nix.find({"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (nix.version, nix.full_name) == (version, name)


async def test_a_nix_that_does_not_work_is_said(tmp_path: Path) -> None:
    program(tmp_path, "nix", "echo 'error: no library' >&2; exit 1")
    with pytest.raises(ToolError, match="no library"):
        await Nix.find({"PATH": str(tmp_path)})


async def test_experimental_features_are_needed_in_no_settings(any_nix: Nix) -> None:
    assert "experimental-features" not in any_nix.environment.get("NIX_CONFIG", "")
    result = await any_nix.run(["nix", "eval", "--store", "dummy://", "--expr", "1 + 1"])
    assert (result.returncode, result.stdout.strip()) == (0, b"2")


async def test_input_is_handed_on(any_nix: Nix) -> None:
    command = ["nix-instantiate", "--store", "dummy://", "--parse", "-"]
    result = await any_nix.run(command, stdin=b"1 + 1")
    assert result.returncode == 0
    assert b"1" in result.stdout


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    nix = program(tmp_path, "nix", "true")
    with pytest.raises(ToolError, match="no `nix-nothing`"):
        await nix.run(["nix-nothing"])


async def test_a_process_is_ended_when_its_task_is_cancelled(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    nix = program(tmp_path, "nix-store", f"echo $$ > {pid_file}; exec sleep 60")
    task = asyncio.create_task(nix.run(["nix-store"]))
    while not (pid_file.exists() and pid_file.read_text().strip()):  # noqa: ASYNC110 - a file says it
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pid = pid_file.read_text().strip()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_an_error_is_told_from_its_beginning() -> None:
    result = completed("warning: w\nerror:\n  … while\n\n  error: boom\n  more\n")
    assert result.error_text == "error:\n  … while\n\n  error: boom\n  more"
    assert result.last_words == "  error: boom\n  more"
    assert completed("a\nb\n").error_text == "a\nb"
    assert completed("").error_text == "it said nothing"
