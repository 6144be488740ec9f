"""The manifests of a cache directory: one file a generation, in a directory for each target.

Blocking, for use off the event loop.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.records import documents
from mirror.destinations.records.generation import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.destinations.records.documents import Told
    from mirror.destinations.records.generation import Generation

_HINT: Final = "remove the file, and sync again: that makes a new generation"


@dataclass(frozen=True, slots=True)
class Manifests:
    """The manifests below ``directory``; ``temporaries`` is on the same file system."""

    directory: Path
    temporaries: Path

    def write(self, generation: Generation) -> None:
        """Write a generation's manifest, durably.

        Raises:
            DestinationError: it cannot be written.

        """
        path = self._file(generation)
        with files.explained(path):
            files.make_directory(path.parent)
            files.replace_file(path, MANIFEST.render(generation), temporaries=self.temporaries)
            files.sync_directory(path.parent)

    def read(self, unreadable: Told | None) -> list[Generation]:
        """Every generation, by target and number.

        Raises:
            DestinationError: a manifest cannot be read, and there is no ``unreadable`` to be told.

        """
        found = [
            generation
            for directory in documents.entries(self.directory, unreadable)
            if directory.is_dir()
            for generation in documents.read_all(directory, MANIFEST, unreadable, hint=_HINT)
        ]
        return sorted(found, key=lambda generation: (generation.target, generation.number))

    def remove(self, generation: Generation) -> None:
        """Remove a generation's manifest, if there is one.

        Raises:
            DestinationError: it cannot be removed.

        """
        path = self._file(generation)
        with files.explained(path):
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                files.sync_directory(path.parent)
                with contextlib.suppress(OSError):  # the target has other generations
                    path.parent.rmdir()

    def _file(self, generation: Generation) -> Path:
        directory = self.directory / documents.file_name(generation.target)
        return directory / f"{generation.number}.json"
