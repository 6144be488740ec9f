"""Git repositories for the demo's origin, made with the host's git and served as plain files."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING

from mirror.errors import ToolError
from mirror.system.processes import started

if TYPE_CHECKING:
    from pathlib import Path


async def write_repository(work: Path, directory: Path, name: str) -> str:
    """Commit the files of ``work``; the revision, which is the same on every machine.

    In ``directory`` are then ``<name>.git``, a bare repository that any web server can give, and
    ``<name>/<revision>.tar``, the same files as an archive.

    Raises:
        ToolError: git is missing or fails.

    """
    await _git(work, "init", "--quiet", "--initial-branch=main")
    await _git(work, "add", "--all")
    await _git(work, "commit", "--quiet", "--message", f"{name}: all there is")
    revision = (await _git(work, "rev-parse", "HEAD")).decode().strip()
    bare = directory / f"{name}.git"
    await _git(work, "clone", "--quiet", "--bare", ".", str(bare))
    await _git(bare, "update-server-info")
    tar = await _git(bare, "archive", revision)
    await asyncio.to_thread(_write, directory / name / f"{revision}.tar", tar)
    return revision


async def _git(directory: Path, *arguments: str) -> bytes:
    """Run git as nobody in particular, at no particular time, so that revisions are the same."""
    person = {
        f"GIT_{role}_{field}": value
        for role in ("AUTHOR", "COMMITTER")
        for field, value in (
            ("NAME", "demo"),
            ("EMAIL", "demo@localhost"),
            ("DATE", "1000000000 +0000"),
        )
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    try:
        async with started(
            ["git", *arguments],
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            environment={**inherited, **person, **settings},
            directory=directory,
        ) as process:
            stdout, stderr = await process.communicate()
    except OSError as error:
        raise ToolError(f"git cannot be started: {error}", hint="install git") from error
    if process.returncode != 0:
        raise ToolError(f"git {arguments[0]} failed: {stderr.decode(errors='replace').strip()}")
    return stdout


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(data)
