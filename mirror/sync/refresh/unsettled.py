"""Refreshes of lock files that have not come to their end: what each file was before.

A run that is killed can put nothing back. So a note is kept of each lock file while a run refreshes
it, and a later run finds it. It is in the user's state directory, since what is beside a lock file
is a part of the flake. Its lock says whether the run that wrote it is still there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.destinations import files
from mirror.errors import FormatError, LockedError, PrefetchError
from mirror.formats.hashes import Hash
from mirror.sync.kept.freshness import lock_file
from mirror.sync.refresh import lock_files
from mirror.system.plain_files import is_there, read_plain_file
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mirror.nix.command import Nix
    from mirror.planning.lists.targets import Target
    from mirror.sync.report import Observer


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The note of one lock file, for the run that holds it; :func:`held_note` gives it.

    Blocking, for use off the event loop.
    """

    file: Path
    place: Path

    def write(self, before: bytes | None, *, after: bytes | None = None) -> None:
        """Note, durably, what the file was; ``after`` is what the refresh has made of it, if known.

        Raises:
            DestinationError: the note cannot be written.

        """
        document = {
            "file": str(self.file),
            "before": None if before is None else before.decode(errors="surrogateescape"),
            "after": None if after is None else Hash.of(after).sri,
        }
        data = json.dumps(document).encode()
        with files.explained(self.place):
            files.replace_file(self.place, data, temporaries=self.place.parent)
            files.sync_directory(self.place.parent)

    def remove(self) -> None:
        """Note no more: the file is what it should be.

        Raises:
            DestinationError: the note cannot be removed.

        """
        with files.explained(self.place):
            self.place.unlink(missing_ok=True)
            files.sync_directory(self.place.parent)

    def put_back(self) -> str | None:
        """Put back what a run that was killed left, if it is still that; what is to be said of it.

        Raises:
            OSError: the file cannot be put back, and stays noted.
            DestinationError: the note cannot be removed.
            FormatError: it makes no sense.

        """
        data = read_plain_file(self.place)
        try:
            document = json.loads(data)
            text, after = document["before"], document["after"]
            before = None if text is None else text.encode(errors="surrogateescape")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise FormatError(f"{self.place} makes no sense ({error}): remove it") from error
        now = lock_files.read(self.file)
        said = None
        if now != before:
            said = f"an earlier refresh of {self.file} was interrupted: "
            if now is not None and Hash.of(now).sri == after:
                lock_files.put_back(self.file, before)
                said += "it was put back"
            else:
                said += "it has changed since, and is left as it is"
        self.remove()
        return said


@contextlib.contextmanager
def held_note(nix: Nix, file: Path) -> Iterator[Note]:
    """Hold the note of a lock file within the context; leaving it leaves what is noted.

    Raises:
        LockedError: another run is refreshing the file.
        DestinationError: the user's state directory cannot be used.

    """
    place = _place(nix, file)
    with files.explained(place):
        files.make_directory(place.parent.parent)
        # Who may not read the flake may not read the note.
        place.parent.mkdir(mode=0o700, exist_ok=True)
    with files.locked(place.with_suffix(".lock"), str(file)):
        yield Note(file=file, place=place)


async def put_back_interrupted(targets: Sequence[Target], nix: Nix, observer: Observer) -> None:
    """Put back the targets' lock files that runs which were killed left refreshed, and say so."""
    for file in dict.fromkeys(map(lock_file, targets)):
        if file is None:
            continue
        said = await in_thread(_put_back, nix, file)
        if said:
            observer.notice(said)


def _put_back(nix: Nix, file: Path) -> str | None:
    if not is_there(_place(nix, file)):
        return None
    try:
        with held_note(nix, file) as note:
            return note.put_back()
    except LockedError:
        return None  # The refresh is under way.
    except FileNotFoundError:
        return None  # It has just come to its end.
    except (PrefetchError, OSError) as error:
        return f"an earlier refresh of {file} was interrupted, and putting it back failed: {error}"


def _place(nix: Nix, file: Path) -> Path:
    name = hashlib.sha256(os.fsencode(file)).hexdigest()[:32]
    return nix.state_directory / "refreshes" / f"{name}.json"
