"""Cache directories by name: a directory, perhaps as a ``file://`` URL."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.destinations.cache.directory import CacheDirectory
from mirror.destinations.cache.opening import is_cache
from mirror.errors import DestinationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.destinations.kind import Opening

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://.*")
_FILE: Final = "file://"
_DEFAULT: Final = "prefetch-cache"


class CacheDirectories:
    """Binary cache directories."""

    forms = "a directory for a binary cache"

    def is_meant(self, to: str | None) -> bool:
        """Anything but a URL; without a name, ``./prefetch-cache``."""
        if to is None:
            return True
        return bool(to) and (to.startswith(_FILE) or not _URL.fullmatch(to))

    @contextlib.asynccontextmanager
    async def open(self, to: str | None, opening: Opening) -> AsyncIterator[CacheDirectory]:
        """Open the directory, made if it is missing and may be."""
        directory = _directory(to)
        if opening.must_exist and not is_cache(directory):
            raise DestinationError(
                f"there is no binary cache in {directory}",
                hint="`prefetch sync LIST --to DIRECTORY` makes one",
            )
        opened = CacheDirectory.open(
            directory,
            exclusive=opening.exclusive,
            signing_key=opening.signing_key,
            to_mend=opening.to_mend,
            reads_contents=opening.reads_contents,
            remembers=opening.remembers,
        )
        async with opened as cache:
            yield cache


def _directory(to: str | None) -> Path:
    return Path((to or _DEFAULT).removeprefix(_FILE)).absolute()
