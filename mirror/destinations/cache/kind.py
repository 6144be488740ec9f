"""Cache directories by name: a directory, perhaps as a ``file://`` URL."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from mirror.destinations.cache.directory import CacheDirectory
from mirror.destinations.cache.opening import is_cache
from mirror.errors import DestinationError, RequestError

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
    """The directory that is meant.

    A URL is read as the newest Nix reads it, with its escapes decoded; ``~`` is a home directory,
    also where no shell has put it there.

    Raises:
        RequestError: no directory is named so.

    """
    if to is not None and to.startswith(_FILE):
        return _of_url(to)
    name = to or _DEFAULT
    if not name.startswith("~"):
        return Path(name).absolute()
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError:
        raise RequestError(
            f"the home directory in {name} is not known",
            hint=f"write ./{name} for a directory of that name",
        ) from None


def _of_url(url: str) -> Path:
    location, _, query = url.removeprefix(_FILE).partition("?")
    path = unquote(location, errors="surrogateescape")
    if not path.startswith("/"):
        raise RequestError(
            f"not a destination: {url}: after file:// comes an absolute path",
            hint=f"file:///some/directory, or without file://: {path or 'DIRECTORY'}",
        )
    if query:
        names = ", ".join(word.partition("=")[0] for word in query.split("&"))
        raise RequestError(
            f"not a destination: {url}: it has parameters ({names}), which mean nothing here",
            hint="what is fetched is kept as it was compressed and signed; --signing-key signs "
            f"what is made here. Write {path} (%3F for a question mark of a URL)",
        )
    return Path(path).absolute()
