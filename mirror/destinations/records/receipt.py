"""Receipts: the results of rehearsing a target, as JSON beside its generations.

The members are those of :class:`Receipt`, ``created`` in ISO 8601. A target has one receipt, that
of its newest rehearsal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirror.destinations.records.documents import Documents, Kind, count, moment, name, text
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mirror.destinations.records.generation import Generation

DOES_NOT_APPLY: Final = "does not apply: "
"""What the text of an edit begins with that its target has no use for: no failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The result of rehearsing a target's generation ``number``.

    ``root`` is the derivation that was rehearsed, ``nix_version`` what it was built with;
    ``created`` is in UTC. ``lock_file`` is the flake's on this machine, None where there is none
    to look at, and ``lock_hash`` what it then had (SRI), None if it was not there. ``problem`` says
    why the target itself failed, and ``edits`` what each edit failed of, None for none.
    """

    target: str
    number: int
    root: StorePath
    nix_version: str
    created: datetime
    lock_file: Path | None
    lock_hash: str | None
    problem: str | None
    edits: Mapping[str, str | None]

    @property
    def has_passed(self) -> bool:
        """Whether the target, and each edit that applies to it, was built."""
        problems = (self.problem, *self.edits.values())
        return all(each is None or each.startswith(DOES_NOT_APPLY) for each in problems)

    def is_about(self, generation: Generation, lock_hash: str | None) -> bool:
        """Whether it applies to this generation, while the lock file has this hash."""
        return (self.target, self.number, self.root, self.lock_hash) == (
            generation.target,
            generation.number,
            generation.root,
            lock_hash,
        )


def receipts_in(directory: Path) -> Documents[Receipt]:
    """Give the receipts of a directory, one a target."""
    return Documents(directory=directory, kind=RECEIPT, hint="remove the file, and rehearse again")


def _members(receipt: Receipt) -> dict[str, Any]:
    return {
        "target": receipt.target,
        "number": receipt.number,
        "root": receipt.root,
        "nix_version": receipt.nix_version,
        "created": receipt.created.isoformat(timespec="seconds"),
        "lock_file": None if receipt.lock_file is None else str(receipt.lock_file),
        "lock_hash": receipt.lock_hash,
        "problem": receipt.problem,
        "edits": dict(receipt.edits),
    }


def _receipt(document: Mapping[str, Any]) -> Receipt:
    return Receipt(
        target=name(document["target"]),
        number=count(document["number"]),
        root=StorePath.parse(document["root"]),
        nix_version=name(document["nix_version"]),
        created=moment(document["created"]),
        lock_file=None if document["lock_file"] is None else Path(document["lock_file"]),
        lock_hash=_text(document["lock_hash"]),
        problem=_text(document["problem"]),
        edits={name(edit): _text(said) for edit, said in document["edits"].items()},
    )


def _text(value: object) -> str | None:
    return None if value is None else text(value)


RECEIPT: Final = Kind(noun="receipt", members=_members, value=_receipt)
