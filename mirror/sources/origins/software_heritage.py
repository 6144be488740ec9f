"""The Software Heritage archive: source files that may be gone everywhere else.

Only flat files are looked up, by their hash. (It has trees too, under its own identifiers, which a
NAR's hash does not tell.)
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from mirror.errors import NotAvailableError
from mirror.sources.origins.hashed_mirror import fetch_flat, flat_output
from mirror.sources.origins.made import scratch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mirror.sources.http.client import HttpClient
    from mirror.sources.source import Nar, Wanted

DEFAULT_URL: Final = "https://archive.softwareheritage.org"
_ARCHIVED_BY: Final = frozenset({"sha256", "sha1"})


class SoftwareHeritage:
    """The Software Heritage archive, which has files that are gone elsewhere."""

    def __init__(self, client: HttpClient, scratch: Path, *, url: str = DEFAULT_URL) -> None:
        self._client = client
        self._scratch = scratch
        self._url = url.rstrip("/")

    @property
    def name(self) -> str:
        """The archive's URL."""
        return self._url

    @property
    def is_one_party(self) -> bool:
        """True: it is one server."""
        return True

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        """Obtain a flat fixed output by its hash.

        Raises:
            SourceError: the archive does not have it, or does not answer.
            DestinationError: the scratch directory cannot be used.

        """
        fixed = flat_output(wanted)
        if fixed.hash.algorithm not in _ARCHIVED_BY:
            raise NotAvailableError(f"{self._url} knows no hashes of {fixed.hash.algorithm}")
        content = f"{fixed.hash.algorithm}:{fixed.hash.base16}"
        url = f"{self._url}/api/1/content/{content}/raw/"
        async with scratch(self._scratch) as directory:
            yield await fetch_flat(self._client, fixed, directory, url)
