"""What the result of a pure evaluation can depend on, as it is now.

Without ``--impure`` Nix reads nothing but the flake, its inputs as they are locked, and what they
fetch by hash; it knows neither the environment nor the time. So an evaluation is known by what
``nix flake metadata`` says of the flake, which has a hash of each content, by the code that is
evaluated, and by the Nix that evaluates it with its settings. What has no such hash, or a Nix that
code of others is loaded into, has no identity: what they came to is not remembered.

Metadata also have what only looks unnecessary: the commit, that a tree is not committed, and when
it was last modified can be read by the flake itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirror.errors import EvaluationError, FormatError
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mirror.nix.command import Nix
    from mirror.nix.settings import NixSettings
    from mirror.nix.stores import StoreLocation

_FORM: Final = "prefetch evaluation 1"
_MOST_FILES: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakeIdentity:
    """A flake as it is now.

    ``digest`` stands for its content and that of all its inputs, ``source`` is its own in the
    store. ``trees`` are directories that Nix may read while it evaluates, instead of a copy of
    them: git trees with something that is not committed.
    """

    digest: str
    source: StorePath
    trees: frozenset[Path] = frozenset()


async def flake_identity(nix: Nix, flake: str, *, store: StoreLocation) -> FlakeIdentity | None:
    """Ask Nix what a flake is now; None if it cannot tell, or not by a hash.

    Raises:
        ToolError: Nix cannot be used.

    """
    command = ["nix", "flake", "metadata", "--json", "--no-write-lock-file"]
    try:
        completed = await nix.run([*command, "--store", store.url, flake])
    except EvaluationError:
        return None  # its name cannot be given to Nix, as whoever evaluates it will say
    if completed.returncode != 0:
        return None
    try:
        metadata: dict[str, Any] = json.loads(completed.stdout)
        references = list(_references(metadata))
        if not all(map(_is_fixed, references)):
            return None
        trees = frozenset(tree for each in references if (tree := _tree(each)) is not None)
        return FlakeIdentity(
            digest=_digest(metadata), source=StorePath.parse(metadata["path"]), trees=trees
        )
    except (ValueError, KeyError, TypeError, AttributeError, FormatError):
        return None


def evaluator_identity(nix: Nix, settings: NixSettings, *, store: StoreLocation) -> str | None:
    """What stands for the Nix that evaluates, its settings and its store; None if nothing can.

    It blocks.
    """
    if settings.fingerprint is None:
        return None
    program = Path(os.path.realpath(nix.program))
    try:
        there = program.stat()
        # Which settings of flakes the user has agreed to, if flakes may have any.
        agreed = _read(_data_directory(nix) / "nix/trusted-settings.json")
    except OSError:
        return None
    # One version can be packaged, and patched, twice.
    which = [str(program), there.st_size, there.st_mtime_ns, nix.full_name, list(nix.version)]
    return _digest([_FORM, which, settings.fingerprint, store.url, agreed])


def evaluation_key(evaluator: str, flake: FlakeIdentity, function: str) -> str:
    """What stands for an evaluation: of a function of the flake's outputs, by an evaluator."""
    return _digest([evaluator, flake.digest, function])


def state_of(trees: Iterable[Path]) -> str | None:
    """What changes with every change of a file in the directories; None if there are too many.

    A file that is changed and changed back has a new time of change: that cannot be set. It blocks.
    """
    state = hashlib.sha256()
    seen = 0
    for tree in sorted(trees):
        for directory, names, files in os.walk(tree):
            if ".git" in names:
                names.remove(".git")
            names.sort()
            for name in (".", *names, *sorted(files)):
                place = os.path.join(directory, name)  # noqa: PTH118 - thousands of them
                try:
                    found = os.lstat(place)
                except OSError:
                    return None
                words = (place, found.st_ino, found.st_ctime_ns, found.st_mode, found.st_size)
                state.update(repr(words).encode())
                seen += 1
            if seen > _MOST_FILES:
                return None
    return state.hexdigest()


def _references(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the flake is locked to, and each of its inputs but those within another's source."""
    yield metadata["locked"]
    locks = metadata["locks"]
    for name, node in locks["nodes"].items():
        if name != locks["root"] and "parent" not in node:
            yield node["locked"]


def _is_fixed(locked: Mapping[str, Any]) -> bool:
    return "narHash" in locked or "rev" in locked


def _tree(locked: Mapping[str, Any]) -> Path | None:
    """The directory of a git tree which is not committed."""
    if locked["type"] != "git" or "rev" in locked:
        return None
    parts = urllib.parse.urlsplit(locked["url"])
    if parts.scheme not in {"file", "git+file"}:
        raise ValueError(f"neither committed nor here: {locked['url']}")
    return Path(urllib.parse.unquote(parts.path))


def _data_directory(nix: Nix) -> Path:
    named = nix.environment.get("XDG_DATA_HOME")
    return Path(named) if named else nix.home / ".local/share"


def _read(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
