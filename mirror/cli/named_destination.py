"""Opening the destination that ``--to`` names."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.destinations import CacheDirectory, NixStore
from mirror.destinations.cache.opening import is_cache
from mirror.errors import DestinationError, RequestError
from mirror.nix.command import Nix
from mirror.nix.stores import locate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.formats.signing import SecretKey

_NIX_STORE: Final = re.compile(r"(auto|daemon|local)(\?.*)?|(unix|local)://.*")
_OTHER_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://.*")
_DEFAULT_DIRECTORY: Final = Path("prefetch-cache")


@contextlib.asynccontextmanager
async def open_destination(
    to: str | None,
    *,
    exclusive: bool = True,
    signing_key: SecretKey | None = None,
    to_mend: bool = False,
    reads_contents: bool = False,
    remembers: bool = False,
) -> AsyncIterator[CacheDirectory | NixStore]:
    """Open what ``--to`` names; without it, this machine's store if it has Nix.

    The options are those of :meth:`.CacheDirectory.open`.

    Raises:
        RequestError: nothing that can be a destination is named so.
        DestinationError: it cannot be used.

    """
    directory = _directory(to)
    if directory is None:
        nix = await Nix.find()
        store = await locate(nix, to)
        opened_store = NixStore.open(nix, store, exclusive=exclusive, to_mend=to_mend)
        async with opened_store as nix_store:
            yield nix_store
    else:
        opened = CacheDirectory.open(
            directory,
            exclusive=exclusive,
            signing_key=signing_key,
            to_mend=to_mend,
            reads_contents=reads_contents,
            remembers=remembers,
        )
        async with opened as cache_directory:
            yield cache_directory


@contextlib.asynccontextmanager
async def open_existing(
    to: str | None,
    *,
    exclusive: bool,
    signing_key: SecretKey | None = None,
    to_mend: bool = False,
) -> AsyncIterator[CacheDirectory | NixStore]:
    """Open a destination that is there already: a slip of the pen makes no new one.

    ``to_mend``: it may be damaged, and what is had for it takes the place of what there is.

    Raises:
        RequestError: nothing that can be a destination is named so.
        DestinationError: there is none, or it cannot be used.

    """
    directory = _directory(to)
    if directory is not None and not is_cache(directory):
        raise DestinationError(
            f"there is no binary cache in {directory.absolute()}",
            hint="`prefetch sync LIST --to DIRECTORY` makes one",
        )
    opened = open_destination(to, exclusive=exclusive, signing_key=signing_key, to_mend=to_mend)
    async with opened as destination:
        yield destination


def _directory(to: str | None) -> Path | None:
    """The directory that ``--to`` names, None if that is a Nix store.

    Raises:
        RequestError: it is neither.

    """
    if to is None:
        return _DEFAULT_DIRECTORY if shutil.which("nix") is None else None
    if _NIX_STORE.fullmatch(to):
        return None
    if not to or (_OTHER_URL.fullmatch(to) and not to.startswith("file://")):
        raise RequestError(
            f"not a destination: {to or 'an empty name'}",
            hint="give a directory for a binary cache, or a Nix store: daemon, local?root=DIR",
        )
    return Path(to.removeprefix("file://"))


def as_cache_directory(
    destination: CacheDirectory | NixStore, doing: str, *, hint: str | None = None
) -> CacheDirectory:
    """The destination, if it is a cache directory; ``doing`` is what is to be done there.

    Raises:
        RequestError: it is none.

    """
    if not isinstance(destination, CacheDirectory):
        raise RequestError(
            f"only a cache directory is one to {doing}, and {destination.name} is a Nix store",
            hint=hint or "Nix keeps a store's signatures: they do no harm there",
        )
    return destination
