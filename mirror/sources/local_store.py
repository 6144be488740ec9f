"""A Nix store on this machine as a source: what was evaluated or built here.

A path's NAR is made from its files, and what the store knows of it (references, signatures,
content address) goes along. So the closure of a root derivation reaches any destination without a
signature and stays acceptable to Nix: a ``.drv`` is content-addressed, and so are the sources that
evaluation copied. The files may have been damaged since: the verifier is the judge, as always.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mirror.errors import NotAvailableError
from mirror.formats.verifier import Claim
from mirror.nix.file_tree import nar_chunks
from mirror.sources.source import Nar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.nix.protocol.daemon import Connection
    from mirror.nix.stores import StoreLocation
    from mirror.sources.source import Wanted


class LocalStore:
    """Offers the valid paths of ``store``; ``connection`` is to it, and outlives this source."""

    def __init__(self, connection: Connection, store: StoreLocation) -> None:
        self._connection = connection
        self._store = store

    @property
    def name(self) -> str:
        """The store by its URL, if it has one."""
        url = self._store.url
        return "this machine's Nix store" if url == "auto" else f"the store {url}"

    @property
    def is_one_party(self) -> bool:
        """False: one damaged path says nothing about the others."""
        return False

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        """Open the path's NAR.

        Raises:
            NotAvailableError: the store does not hold the path.
            IntegrityError: it says that it does, but the files are gone or cannot be read.

        """
        path = wanted.path
        info = await self._connection.query_path_info(path)
        if info is None:
            raise NotAvailableError(f"{path} is not in {self.name}")
        real = self._store.real(path)
        yield Nar(
            claim=Claim(info=info, made_here=True), chunks=nar_chunks(real), location=str(real)
        )
