"""Whether a receipt is still valid, for this generation and this lock file."""

from __future__ import annotations

import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from mirror.formats.hashes import Hash
from mirror.planning.lists.targets import FlakeInstallable
from mirror.system.plain_files import is_file, read_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.destinations import Generation, Receipt
    from mirror.planning.lists.targets import Target

_PREFIXES: Final = ("path:", "git+file:")
_PINNED: Final = {"rev", "ref"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The receipt of a generation, and its state now."""

    receipt: Receipt
    state: Literal["rehearsed", "failed", "stale"]


def rehearsals(
    generations: Iterable[Generation], receipts: Iterable[Receipt]
) -> dict[tuple[str, int], Rehearsal]:
    """What the receipts say of the newest generation of each target, by target and number.

    Looks at the lock files now: it blocks.
    """
    newest = {each.target: each for each in sorted(generations, key=lambda each: each.number)}
    found = {}
    for receipt in receipts:
        generation = newest.get(receipt.target)
        if generation is None:
            continue
        state: Literal["rehearsed", "failed", "stale"] = "stale"
        file = receipt.lock_file
        # What a server is not let see, nothing says that it has changed.
        hidden = file is not None and _is_hidden(file)
        if receipt.is_about(generation, receipt.lock_hash if hidden else lock_hash(file)):
            state = "rehearsed" if receipt.has_passed else "failed"
        found[generation.target, generation.number] = Rehearsal(receipt=receipt, state=state)
    return found


def lock_file(target: Target) -> Path | None:
    """Where the lock file of a flake that is a directory of this machine is, or would be.

    None for a flake elsewhere, or at a revision of its own, and for all that is no flake.
    """
    if not isinstance(target.installable, FlakeInstallable):
        return None
    reference, _, query = target.installable.flake.partition("?")
    parameters = dict(urllib.parse.parse_qsl(query))
    for prefix in _PREFIXES:
        if reference.startswith(prefix):
            reference = reference.removeprefix(prefix)
            # git+file:///directory, too
            reference = reference.removeprefix("//") if reference.startswith("///") else reference
            break
    if not reference.startswith("/") or _PINNED & parameters.keys():
        return None
    directory = Path(urllib.parse.unquote(reference)) / parameters.get("dir", "")
    # Nix, too, looks for a flake in the directories above.
    places = (each for each in (directory, *directory.parents) if is_file(each / "flake.nix"))
    return next(places, directory) / "flake.lock"


def lock_hash(file: Path | None) -> str | None:
    """The hash of a lock file as it is now (SRI); None if there is none."""
    try:
        return None if file is None else Hash.of(read_plain_file(file)).sri
    except (OSError, ValueError):  # no name of a file
        return None


def _is_hidden(file: Path) -> bool:
    """Whether this user may not read a file."""
    try:
        file.stat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return not os.access(file, os.R_OK)
