"""The links that root a Nix store's generations: one symbolic link to a manifest object each.

Who may write to the store's ``gcroots`` has them there, as direct roots. Anyone else has them in
the state directory of their own, where each must also be registered as an indirect root.
Blocking, for use off the event loop.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.destinations import files
from mirror.destinations.records import documents
from mirror.destinations.records.generation import MANIFEST
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.destinations.records.documents import Told
    from mirror.destinations.records.generation import Generation
    from mirror.nix.stores import StoreLocation


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationLinks:
    """The links of one store; ``indirect`` is the user's own directory for them."""

    store: StoreLocation
    indirect: Path

    @property
    def direct(self) -> Path:
        """Where root's links are: below ``gcroots``, so that each is a root as it stands."""
        return self.store.state_directory / "gcroots/prefetch"

    def add(self, generation: Generation, manifest_object: StorePath) -> Path | None:
        """Link a generation's manifest; what is returned must be registered as an indirect root.

        Raises:
            DestinationError: neither directory can be written to.

        """
        is_direct = _is_writable(self.direct)
        directory = self.direct if is_direct else self.indirect
        link = directory / _link_name(generation)
        with files.explained(link):
            files.make_directory(directory)
            temporary = directory / f".{link.name}.{os.getpid()}"
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(manifest_object)
            temporary.replace(link)
            files.sync_directory(directory)
        return None if is_direct else link

    def read(self, unreadable: Told | None = None) -> list[Generation]:
        """Every generation whose manifest is still there, by target and number.

        Raises:
            DestinationError: a manifest cannot be read, and there is no ``unreadable`` to be told.

        """
        found = [generation for _, generation in self._manifests(unreadable)]
        return sorted(found, key=lambda generation: (generation.target, generation.number))

    def remove(self, generation: Generation) -> None:
        """Remove a generation's link, where there is one.

        Raises:
            DestinationError: it is another user's.

        """
        for link, found in self._manifests():
            if (found.target, found.number) == (generation.target, generation.number):
                with files.explained(link):
                    link.unlink(missing_ok=True)
                    files.sync_directory(link.parent)

    def _manifests(self, unreadable: Told | None = None) -> Iterator[tuple[Path, Generation]]:
        for directory in (self.direct, self.indirect):
            with files.explained(directory):
                links = sorted(directory.iterdir()) if directory.is_dir() else []
            for link in links:
                if not link.is_symlink() or link.name.startswith("."):
                    continue
                with documents.telling(unreadable):
                    generation = self._read_manifest(link)
                    if generation is not None:
                        yield link, generation

    def _read_manifest(self, link: Path) -> Generation | None:
        with documents.explained(link, hint="remove the link if you do not know it"):
            try:
                manifest = self.store.real(StorePath.parse(str(link.readlink())))
                return MANIFEST.parse(files.read_plain_file(manifest))
            except FileNotFoundError:
                return None  # dropped just now, its store replaced, or the root never registered


def _link_name(generation: Generation) -> str:
    return f"{documents.file_name(generation.target)}-{generation.number}"


def _is_writable(directory: Path) -> bool:
    """Whether links can be made in ``directory``, which may have yet to be made itself."""
    existing = directory if directory.is_dir() else directory.parent
    return os.access(existing, os.W_OK | os.X_OK)
