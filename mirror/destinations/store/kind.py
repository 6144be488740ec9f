"""Nix stores by name: the URLs that Nix has for those whose files are on this machine."""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING, Final

from mirror.destinations.store.nix_store import NixStore
from mirror.nix.command import Nix
from mirror.nix.stores import locate

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
        """Connect to the store, which Nix makes if it can."""
        nix = await Nix.find()
        opened = NixStore.open(
            nix, await locate(nix, to), exclusive=opening.exclusive, to_mend=opening.to_mend
        )
        async with opened as store:
            yield store
