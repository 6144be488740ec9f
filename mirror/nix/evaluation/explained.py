"""Failed evaluations in the words of whoever has to do something about it.

Nix says what it met with, in words that differ from one version to the next. For common mistakes
there is more to say: which file, directory or package it is about, and the way out that works with
prefetch.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote

from mirror.errors import PrefetchError
from mirror.planning.lists.targets import FileInstallable, FlakeInstallable
from mirror.system.plain_files import is_directory, is_file, is_there

if TYPE_CHECKING:
    from mirror.nix.command import Completed, Nix
    from mirror.planning.lists.targets import Installable

_NO_NIXPKGS: Final = "file 'nixpkgs/nixos' was not found in the Nix search path"
_NO_NIXPKGS_HINT: Final = (
    "say where nixpkgs is, as for nixos-rebuild: NIX_PATH=nixpkgs=/path/to/nixpkgs prefetch …"
)

_NO_DOWNLOAD: Final = "error: unable to download '"
_NO_DOWNLOAD_HINT: Final = (
    "without a network only that is there which a sync brought and which has a hash: give "
    "fetchTarball, fetchurl and their like a sha256, then sync"
)

# As nixpkgs has it in pkgs/stdenv/generic/check-meta.nix; older ones had other quotes.
_REFUSED: Final = re.compile(
    r"error: Package [\u2018'`](?P<name>[^\u2019'\n]+)[\u2019'] in (?P<file>\S+) (?P<why>[^\0]+?)"
    r"[\s,]+refusing to evaluate"
)
_WAYS_OUT: Final = (
    ("unfree license", "allowUnfree = true", "NIXPKGS_ALLOW_UNFREE"),
    ("insecure", 'permittedInsecurePackages = [ "{name}" ]', "NIXPKGS_ALLOW_INSECURE"),
    ("broken", "allowBroken = true", "NIXPKGS_ALLOW_BROKEN"),
    ("not built from source", "allowNonSource = true", "NIXPKGS_ALLOW_NONSOURCE"),
    ("", "allowUnsupportedSystem = true", "NIXPKGS_ALLOW_UNSUPPORTED_SYSTEM"),
)
"""What nixpkgs says, the setting that allows it all the same, and its variable."""

_IN_FLAKE: Final = re.compile(r"getting status of ['\"]\S*?/nix/store/[^/\s]+-source/([^'\"\n]+)")
_NOT_TRACKED: Final = re.compile(r"Path '([^'\n]+)' in the repository")
_NO_ATTRIBUTE: Final = re.compile(r"attribute '([^\n]+?)' in selection path ")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is wrong, to be said behind the target's name, and what to do about it."""

    problem: str
    hint: str | None


async def explain(nix: Nix, installable: Installable, failed: Completed) -> Explanation:
    """Explain why an evaluation failed; where it is nothing special, in Nix's own words."""
    said = failed.error_text
    problem = f"cannot be evaluated by {nix.full_name}:\n{said}"
    if refused := refused_package(failed.stderr, installable):
        return refused
    if isinstance(installable, FlakeInstallable):
        if (found := await _unreadable_flake(nix, installable.flake, said)) is not None:
            return found
    elif _NO_DOWNLOAD in said:  # in a flake all that is fetched has a hash
        return Explanation(problem, _NO_DOWNLOAD_HINT)
    return Explanation(problem, _NO_NIXPKGS_HINT if _NO_NIXPKGS in said else None)


def missing_attribute(said: str) -> str | None:
    """The name that Nix did not find on the way to an attribute of a file."""
    found = _NO_ATTRIBUTE.search(said)
    return found[1] if found else None


def refused_package(said: str, installable: Installable) -> Explanation | None:
    """Say which package nixpkgs refuses to evaluate, why, and how it is allowed here."""
    found = _REFUSED.search(said)
    if found is None:
        return None
    why = " ".join(found["why"].split())
    setting, variable = next(
        (setting.format(name=found["name"]), variable)
        for mark, setting, variable in _WAYS_OUT
        if mark in why
    )
    hint = f"allow it where nixpkgs is configured (NixOS: nixpkgs.config.{setting};)"
    if isinstance(installable, FileInstallable):
        hint += f", or with {variable}=1 in the environment of each prefetch and Nix command"
    else:
        hint += f"; a flake is evaluated purely, so {variable}=1 has no effect on it"
    problem = f"nixpkgs refuses {found['name']} ({found['file']}): it {why}"
    return Explanation(problem, hint)


async def _unreadable_flake(nix: Nix, reference: str, said: str) -> Explanation | None:
    """Why a flake in a directory of this machine cannot be read; None if it can, or is elsewhere.

    What git does not track is not part of a flake, whatever is in its directory.
    """
    named = _directory(reference)
    if named is None:
        return None
    if not is_directory(named):
        if is_there(named):
            return None  # perhaps an archive
        return Explanation(
            f"there is no directory {named}",
            "FLAKE#NAME begins with the directory that has a flake.nix, such as .#pi",
        )
    is_path = reference.startswith("path:")
    directory = named if is_path else _upwards(named)
    if directory is None or not is_file(directory / "flake.nix"):
        return Explanation(
            f"there is no flake.nix in {named}",
            "name the directory that has one (DIRECTORY#NAME), or a file (FILE.nix#ATTRIBUTE)",
        )
    return None if is_path else await _untracked(nix, directory, said)


def _directory(reference: str) -> Path | None:
    """The directory that a flake reference leads to; None if that is not of this machine."""
    location, _, query = reference.partition("?")
    for scheme in ("git+file://", "path://", "path:"):
        if location.startswith(scheme):
            location = unquote(location.removeprefix(scheme))
            break
    if not location.startswith("/"):
        return None
    return Path(location, *parse_qs(query).get("dir", []))


def _upwards(directory: Path) -> Path | None:
    """Find ``flake.nix`` as Nix does: in a parent directory, but not beyond a repository."""
    for each in (directory, *directory.parents):
        if is_file(each / "flake.nix"):
            return each
        if is_there(each / ".git"):
            return None
    return None


async def _untracked(nix: Nix, directory: Path, said: str) -> Explanation | None:
    """Say what git keeps Nix from reading; None if that is nothing, or there is no repository."""
    top = next((each for each in (directory, *directory.parents) if is_there(each / ".git")), None)
    if top is None:
        return None
    found = _IN_FLAKE.search(said) or _NOT_TRACKED.search(said)
    file = top / found[1] if found else directory / "flake.nix"
    command = ["git", "-C", str(top), "ls-files", "--error-unmatch", "--", str(file)]
    with contextlib.suppress(PrefetchError):  # no git, which Nix has complained of
        # It is Nix's environment that decides what git does for Nix.
        asked = await nix.run(command, environment={"LC_ALL": "C"})
        git_said = asked.stderr.strip()
        if "did not match any file" in git_said and is_there(file):
            add = shlex.join(["git", "-C", str(top), "add", str(file.relative_to(top))])
            return Explanation(
                f"{file} is not tracked by git, and Nix sees of a repository only what is",
                f"track it (it need not be committed): {add}",
            )
        if "safe.directory" in git_said or "dubious ownership" in git_said:
            allow = shlex.join(["git", "config", "--global", "--add", "safe.directory", str(top)])
            return Explanation(
                f"git does not open {top}: {git_said.splitlines()[0]}",
                f"if you trust its owner: {allow}",
            )
    return None
