"""Which incomplete paths of a cache become complete while others are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from mirror.formats.store_path import StorePath
    from mirror.planning.presence import Presence


class Completion:
    """Which paths of a cache are complete with what is ``made``, which may only grow.

    Most incomplete paths lack the same few ones, so of each is remembered one that it lacks, and
    which of them lack nothing any more: no reference is followed twice for nothing.
    """

    def __init__(self, cache: Presence, made: Container[StorePath]) -> None:
        self._cache = cache
        self._made = made
        self._lacks: dict[StorePath, StorePath] = {}
        self._complete: set[StorePath] = set()

    def is_complete(self, path: StorePath | None) -> bool:
        """Whether all that ``path`` lacks (:meth:`.Presence.lacking`) is made."""
        if path is None or path not in self._cache.incomplete:
            return path in self._cache.there
        if path in self._complete:
            return True
        if self._known_lack(path) is not None:
            return False
        # From a path down to one that is lacking; what was left behind on the way is complete.
        seen = {path}
        trail = [(path, self._references(path))]
        while trail:
            each, references = trail[-1]
            reference = next((other for other in references if other not in seen), None)
            if reference is None:
                self._complete.add(each)
                trail.pop()
                continue
            seen.add(reference)
            lack = self._known_lack(reference)
            if lack is not None:
                self._lacks.update((above, lack) for above, _ in trail)
                return False
            trail.append((reference, self._references(reference)))
        return True

    def _known_lack(self, path: StorePath) -> StorePath | None:
        """A path that is known to be missing for ``path``: itself, or a reference."""
        lack = self._lacks.get(path, path if path not in self._cache.held else None)
        return None if lack is None or lack in self._made else lack

    def _references(self, path: StorePath) -> Iterator[StorePath]:
        """The references that have to be present for a path to be complete."""
        info = self._cache.held.get(path)
        for reference in () if info is None else info.references:
            if reference not in self._cache.there and reference not in self._complete:
                yield reference
