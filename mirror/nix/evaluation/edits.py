"""How an edit is passed to Nix, and how to read its errors about one.

A flake is evaluated purely, where no file outside of it can be read. An edit's file gets in as a
fetched tree whose hash is given: the file alone, or with its whole directory where it seems to
name files by relative paths. What is above that directory stays out of reach.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import EvaluationError
from mirror.formats import nar
from mirror.formats.hashes import Hash
from mirror.nix.evaluation import expressions
from mirror.system.plain_files import read_plain_file

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.planning.lists.targets import Edit

# As Nix reads a relative path, apart from numbers (192.0.2.1/24) and a shell's words ($out/bin).
# What else only looks like one, in a comment or a string, makes no harm: the directory is then
# copied for nothing.
_RELATIVE_PATH: Final = re.compile(
    r"(?<![\w.+/~<:$-])(?![\d.]+/\d)[\w.+-]+/(?:[\w.+-]|\$\{)", re.ASCII
)

# Since 2020 it goes on with "Definition values:", before that it named the file in between.
_NO_OPTION: Final = re.compile(r"The option [`']([^`'$\n]+)'(?: defined in [^\n]*)? does not exist")
_REMOVED_OPTION: Final = re.compile(
    r"The option definition [`']([^`'$\n]+)' in [^\n]* no longer has any effect"
)
_NO_ARGUMENT: Final = re.compile(r"called with unexpected argument [`']([^`'\n]+)'")
_OUT_OF_REACH: Final = re.compile(r"access to \S+ path '[^']*' is forbidden in pure eval")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedEdit:
    """An edit of a target, and the root derivation of the target with it.

    Without a ``root``, ``problem`` says why; an edit that is not applicable sets an option, or an
    argument, that the configuration does not have.
    """

    edit: Edit
    root: StorePath | None
    problem: str | None = None
    is_applicable: bool = True


def local(edit: Edit) -> str:
    """Write the edit as Nix code for an evaluation that can read any file."""
    return _applied(expressions.path(edit.file), edit)


async def fetched(nix: Nix, edit: Edit) -> str:
    """Write the edit as Nix code for a pure evaluation.

    Raises:
        EvaluationError: its file, or a file beside it, cannot be read.

    """
    try:
        contents = await asyncio.to_thread(read_plain_file, edit.file)
        is_executable = bool((await asyncio.to_thread(edit.file.stat)).st_mode & 0o100)
    except OSError as error:
        raise EvaluationError(f"{edit.file} cannot be read: {error.strerror}") from error
    if _RELATIVE_PATH.search(contents.decode(errors="replace")):
        directory = edit.file.parent
        completed = await nix.run(["nix", "hash", "path", str(directory)])
        if completed.returncode != 0:
            raise EvaluationError(f"{directory} cannot be read: {completed.last_words}")
        tree, name = _tree(directory, completed.stdout.decode().strip()), f"/{edit.file.name}"
    else:
        archive = b"".join(nar.serialize(nar.Regular.of(contents, executable=is_executable)))
        tree, name = _tree(edit.file, Hash.of(archive).sri), ""
    return _applied(f"({tree} + {expressions.string(name)})", edit)


def inapplicable(said: str, *, to_function: bool) -> str | None:
    """Read from what Nix said that an edit does not apply, and why; None if it is an error.

    ``to_function`` tells that the edit is of the arguments of a file. ``said`` is the error
    itself, which a trace can come before and lines of code after: they can look like another.
    """
    if to_function:
        if f"error: {expressions.NO_FUNCTION}" in said:
            return expressions.NO_FUNCTION
        if found := _NO_ARGUMENT.search(said):
            return f"the file takes no argument {found[1]}"
        return None
    if found := _NO_OPTION.search(said):
        return f"the configuration has no option {found[1]}"
    if found := _REMOVED_OPTION.search(said):
        return f"the option {found[1]} has been removed"
    return None


def out_of_reach(said: str) -> str:
    """Add to what Nix said of a path that an edit cannot have, if it did, what it can."""
    if not _OUT_OF_REACH.search(said):
        return ""
    return "\nin a flake, an edit can read files of its own directory and below it, and no others"


def _tree(path: Path, nar_hash: str) -> str:
    return (
        f'(builtins.fetchTree {{ type = "path"; path = {expressions.string(str(path))}; '
        f"narHash = {expressions.string(nar_hash)}; }}).outPath"
    )


def _applied(file: str, edit: Edit) -> str:
    if edit.argument is None:
        return file
    return f"(import {file} {expressions.string(edit.argument)})"
