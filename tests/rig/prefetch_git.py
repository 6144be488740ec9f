"""What nixpkgs' ``nix-prefetch-git`` makes of a repository: the oracle for our checkouts.

It runs the same git commands in the same order as that script of nixpkgs (of 2026) does for
fetchgit, where no ``.git`` is kept.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rig.git_servers import as_variables

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.planning.fetchers.fixed_outputs import GitCheckout

_SETTINGS = {"maintenance.auto": "false", "gc.auto": "0", "gc.autoDetach": "false"}


class RefusedError(Exception):
    """The script would have failed."""


def prefetch_git(origin: GitCheckout, directory: Path) -> Path:
    """Check ``origin`` out below ``directory``, which is empty; what becomes the store path.

    Raises:
        RefusedError: the script would fail.

    """
    if "/dumb/" in origin.url and origin.sparse_checkout:
        raise RefusedError("git asks a server of plain files for what is missing without an end")
    clone = _Clone(directory / "clone", directory / "home")
    clone.directory.mkdir()
    clone.home.mkdir()
    clone.start(origin)
    revision = origin.revision
    if revision == "HEAD" or revision.startswith("refs/"):
        digits, name = "", revision
    elif re.fullmatch(r"[0-9a-f]+", revision):
        digits, name = revision, ""
    else:
        digits, name = "", f"refs/tags/{revision}"
    if not clone.check_out_reference(digits, name):
        clone.check_out_hash(digits, name)
    if origin.submodules:
        update = ("submodule", "update", "--init", "--recursive", "--checkout", "-j", "1")
        if not clone.git(*update, "--depth", "1"):
            clone.must(*update)
    for found in [path for path in clone.directory.rglob("*") if path.name == ".git"]:
        shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink()
    if not origin.root_directory:
        return clone.directory
    out = directory / "out"
    moved = ["mv", f"{clone.directory}/{origin.root_directory}", str(out)]
    if subprocess.run(moved, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        raise RefusedError(origin.root_directory)
    return out


@dataclass(frozen=True, slots=True)
class _Clone:
    directory: Path
    home: Path

    def start(self, origin: GitCheckout) -> None:
        self.must("init", "--initial-branch=master")
        self.must("remote", "add", "origin", origin.url)
        if origin.sparse_checkout:
            self.must("config", "remote.origin.partialclonefilter", "blob:none")
            mode = () if origin.sparse_cone else ("--no-cone",)
            text = "\n".join(origin.sparse_checkout) + "\n"
            self.must("sparse-checkout", "set", "--stdin", *mode, stdin=os.fsencode(text))

    def check_out_reference(self, digits: str, name: str) -> bool:
        if not name:
            name = self._listed(rb"[^\t]*%s\t(.*)" % digits.encode())
        return (
            name != ""
            and self.git("fetch", "--progress", "--depth", "1", "origin", f"+{name}")
            and self.git("checkout", "-b", "fetchgit", "FETCH_HEAD")
        )

    def check_out_hash(self, digits: str, name: str) -> None:
        if not digits:
            digits = self._listed(rb"(.*)\t%s.*" % re.escape(os.fsencode(name)))
        if not self.git("fetch", "--no-tags", "--progress", "--depth=1", "origin", digits):
            self.must("fetch", "--tags", "--progress", "origin")
        kind = self._output("cat-file", "-t", digits).decode().strip()
        if kind == "tree":
            self.must("config", "user.email", "nix-prefetch-git@localhost")
            self.must("config", "user.name", "nix-prefetch-git")
            digits = self._output("commit-tree", digits, "-m", "x").decode().strip()
        elif kind not in {"commit", "tag"}:
            raise RefusedError(f"a {kind}")
        self.must("checkout", "-b", "fetchgit", digits)

    def _listed(self, pattern: bytes) -> str:
        for line in self._output("ls-remote", "origin").splitlines():
            match = re.fullmatch(pattern, line)
            if match:
                return os.fsdecode(match[1])
        return ""

    def must(self, *arguments: str, stdin: bytes = b"") -> None:
        if not self.git(*arguments, stdin=stdin):
            raise RefusedError(arguments)

    def git(self, *arguments: str, stdin: bytes = b"") -> bool:
        return self._run(*arguments, stdin=stdin).returncode == 0

    def _output(self, *arguments: str) -> bytes:
        return self._run(*arguments).stdout

    def _run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["git", *arguments],
            cwd=self.directory,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "GIT_CONFIG_NOSYSTEM": "1",
                **as_variables(_SETTINGS),
            },
            input=stdin,
            capture_output=True,
            check=False,
        )
