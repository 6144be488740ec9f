"""Receipts: what rehearsing a target came to, as JSON beside its generations.

One object a file; ``version`` is 1, the other members are those of :class:`Receipt`, ``created`` in
ISO 8601. A target has one receipt, that of its newest rehearsal. Blocking, for use off the event
loop; no lock is needed, since each file is replaced whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.destinations import files, manifest
from mirror.errors import DestinationError, FormatError
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.destinations.generation import Generation

DOES_NOT_APPLY: Final = "does not apply: "
"""What the text of an edit begins with that its target has no use for: no failure."""

_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a rehearsal of a target's generation ``number`` came to.

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
        """Whether it says something of this generation while the lock file has this hash."""
        return (self.target, self.number, self.root, self.lock_hash) == (
            generation.target,
            generation.number,
            generation.root,
            lock_hash,
        )


@dataclass(frozen=True, slots=True)
class Receipts:
    """A directory of receipts, which need not be there yet."""

    directory: Path

    def write(self, receipt: Receipt) -> None:
        """Put the receipt in the place of the target's earlier one, durably.

        Raises:
            DestinationError: it cannot be written.

        """
        path = self.directory / f"{manifest.file_name(receipt.target)}.json"
        with files.explained(path):
            files.make_directory(self.directory)
            files.replace_file(path, render(receipt), temporaries=self.directory)
            files.sync_directory(self.directory)

    def read(self) -> list[Receipt]:
        """Every target's receipt, by target.

        Raises:
            DestinationError: one cannot be read.

        """
        found = []
        with files.explained(self.directory):
            for path in self.directory.glob("*.json"):
                try:
                    found.append(parse(path.read_bytes()))
                except FormatError as error:
                    raise DestinationError(
                        f"{path}: {error.message}", hint="remove the file, and rehearse again"
                    ) from error
        return sorted(found, key=lambda receipt: receipt.target)


def render(receipt: Receipt) -> bytes:
    """Write a receipt."""
    document = {
        "version": _VERSION,
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
    return json.dumps(document, indent=1).encode() + b"\n"


def parse(data: bytes) -> Receipt:
    """Read a receipt.

    Raises:
        FormatError: it is not one that this version wrote.

    """
    try:
        document = json.loads(data)
        if document["version"] != _VERSION:
            raise FormatError(f"a receipt of version {document['version']!r}, not {_VERSION}")
        return Receipt(
            target=str(document["target"]),
            number=int(document["number"]),
            root=StorePath.parse(document["root"]),
            nix_version=str(document["nix_version"]),
            created=datetime.fromisoformat(document["created"]),
            lock_file=None if document["lock_file"] is None else Path(document["lock_file"]),
            lock_hash=_text(document["lock_hash"]),
            problem=_text(document["problem"]),
            edits={str(name): _text(text) for name, text in document["edits"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"not a receipt: {error!r}") from error


def _text(value: object) -> str | None:
    return None if value is None else str(value)
