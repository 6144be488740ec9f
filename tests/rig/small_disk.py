"""A file system of a few kilobytes or megabytes, that fills up and is made larger.

It is a tmpfs in a mount namespace of its own, which a shell holds: who is not root has it in a user
namespace. Files in it are reached from outside by the shell's ``/proc/PID/root``, as long as it
runs; a program that is to see it under its own name is started inside.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
"""What a file on it takes is a multiple of this; it may be made of so many bytes at the least."""

IS_ROOT: Final = os.geteuid() == 0
NEW_NAMESPACE: Final = ("unshare", "--mount") if IS_ROOT else ("unshare", "-rm")


class SmallDisk:
    """A file system that is mounted at ``place``, where only those inside see it."""

    def __init__(self, shell: subprocess.Popen[str], place: Path) -> None:
        self._shell = shell
        self.place = place

    @classmethod
    @contextlib.contextmanager
    def mount(cls, place: Path, options: str) -> Iterator[SmallDisk]:
        """Mount it with a tmpfs's options, such as ``size=64k,nr_inodes=20``."""
        place.mkdir(exist_ok=True)
        with subprocess.Popen(
            [*NEW_NAMESPACE, "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as shell:
            disk = cls(shell, place)
            try:
                disk._run(f"mount -t tmpfs -o mode=755,{options} none '{place}'")
                yield disk
            finally:
                shell.kill()

    @property
    def outside(self) -> Path:
        """Where it is for who is not inside."""
        return Path(f"/proc/{self._shell.pid}/root") / self.place.relative_to("/")

    @property
    def inside(self) -> list[str]:
        """What is put before a command that is to see it at its place."""
        user = [] if IS_ROOT else ["--user", "--preserve-credentials"]
        enter = ["nsenter", f"--target={self._shell.pid}", "--mount", *user]
        # Entering leads to the root directory.
        return [*enter, "env", f"--chdir={self.place.parent}"]

    @property
    def free_bytes(self) -> int:
        found = os.statvfs(self.outside)
        return found.f_bavail * found.f_frsize

    @property
    def used_bytes(self) -> int:
        found = os.statvfs(self.outside)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def remount(self, options: str) -> None:
        self._run(f"mount -o remount,{options} '{self.place}'")

    def _run(self, command: str) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command} && echo done || echo failed\n")
        self._shell.stdin.flush()
        said = self._shell.stdout.readline()
        if said != "done\n":
            pytest.fail(f"no file system of one's own can be had here: {command}")
