"""Nix stores by name: the URLs that Nix has for those whose files are on this machine."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.destinations.store.nix_store import NixStore
from mirror.errors import DestinationError
from mirror.nix.command import Nix
from mirror.nix.stores import StoreLocation, locate
from mirror.system.plain_files import is_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.destinations.kind import Opening

_URL: Final = re.compile(r"(auto|daemon|local)(\?.*)?|(unix|local)://.*")


class NixStores:
    """Nix stores."""

    forms = "a Nix store: daemon, local?root=DIR"

    def is_meant(self, to: str | None) -> bool:
        """Nix's URLs; without a name, it is the store that Nix uses by itself, if there is Nix."""
        if to is None:
            return shutil.which("nix") is not None
        return _URL.fullmatch(to) is not None

    @contextlib.asynccontextmanager
    async def open(self, to: str | None, opening: Opening) -> AsyncIterator[NixStore]:
        """Connect to the store, which Nix makes if it can and may."""
        nix = await Nix.find()
        if opening.must_exist and to is not None:
            _expect_store(StoreLocation.parse(to))
        opened = NixStore.open(
            nix, await locate(nix, to), exclusive=opening.exclusive, to_mend=opening.to_mend
        )
        async with opened as store:
            yield store


def _expect_store(location: StoreLocation) -> None:
    """See that the store in a directory is there: Nix would make it.

    Raises:
        DestinationError: it is not.

    """
    if location.root != Path("/") and not is_directory(location.state_directory):
        raise DestinationError(
            f"there is no Nix store in {location.root}",
            hint="`prefetch sync LIST --to 'local?root=DIRECTORY'` makes one",
        )
