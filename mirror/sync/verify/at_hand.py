"""What a repair can have without any upstream: from the store of this machine, from the cache.

Neither vouches for anything. A path is believed if its content is the very one that was kept, by
the narinfo that is whole, or if its name follows from its content and its references.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Final

from mirror.destinations import files
from mirror.destinations.cache.at_rest.path import READ_SIZE
from mirror.destinations.cache.layout import nar_name, narinfo_name
from mirror.errors import FormatError, IntegrityError, NotAvailableError
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.verifier import Claim, matching_content_address
from mirror.sources import Nar
from mirror.system.plain_files import open_plain_file
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import TrustedKeys
    from mirror.formats.store_path import StorePath
    from mirror.sources import Source, Wanted

_UNPROVEN: Final = "it cannot be verified: its narinfo is damaged, too"


@dataclass(frozen=True, slots=True)
class OfThisMachine:
    """The paths of ``store`` that are what was kept; ``whole`` are what whole narinfos say."""

    store: Source
    whole: Mapping[StorePath, PathInfo]

    @property
    def name(self) -> str:
        """The store's own."""
        return self.store.name

    @property
    def is_one_party(self) -> bool:
        """It is not: one path says nothing of the others."""
        return False

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        """Open the path's NAR.

        Raises:
            NotAvailableError: the store does not have it, or something that may be another.
            IntegrityError: it cannot be read there.

        """
        async with self.store.open(wanted) as nar:
            info, kept = nar.claim.info, self.whole.get(wanted.path)
            if kept is not None and kept.nar_hash != info.nar_hash:
                raise NotAvailableError(
                    f"what {self.name} has is not what was kept: expected {kept.nar_hash}, "
                    f"got {info.nar_hash}"
                )
            if kept is None and not _makes_its_name(info):
                raise NotAvailableError(f"{self.name} has it: {_UNPROVEN}")
            yield replace(nar, claim=replace(nar.claim, info=kept or info))


@dataclass(frozen=True, slots=True)
class FromItsNar:
    """The NARs of the cache ``directory`` whose narinfo is damaged; ``keys`` are the trusted ones.

    What nothing vouches for is left out of the narinfo that is made: signatures that are not those
    of a trusted key, and the deriver.
    """

    directory: Path
    keys: TrustedKeys
    name: str = "what is left of it here"
    is_one_party: bool = False

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        """Open the path's NAR.

        Raises:
            NotAvailableError: there is none, or nothing vouches for what its narinfo says.

        """
        file = self.directory / narinfo_name(wanted.path)
        try:
            entry = parse_narinfo(await in_thread(files.read_plain_file, file))
        except OSError as error:
            problem = error.strerror or str(error)
            raise NotAvailableError(f"its narinfo cannot be read: {problem}") from error
        except FormatError as error:
            raise NotAvailableError(f"its narinfo cannot be read: {error.message}") from error
        info = self._vouched_for(entry.info)
        if info is None or info.path != wanted.path or nar_name(entry.url) is None:
            raise NotAvailableError("nothing vouches for what its narinfo says")
        # Nobody vouches for what it says of the file, which the NAR's own hash proves.
        claim = Claim(info=info, compression=entry.compression)
        nar = self.directory / entry.url
        try:
            stream = await in_thread(open_plain_file, nar)
        except OSError as error:
            raise NotAvailableError(f"{nar} cannot be read: {error.strerror or error}") from error
        with stream:
            yield Nar(claim=claim, chunks=_chunks(stream, nar), location=str(nar))

    def _vouched_for(self, info: PathInfo) -> PathInfo | None:
        signatures = tuple(
            each
            for each in info.signatures
            if self.keys.verify(replace(info, signatures=(each,))) is not None
        )
        if not signatures and not _makes_its_name(info):
            return None
        return replace(info, signatures=signatures, deriver=None)


def _makes_its_name(info: PathInfo) -> bool:
    try:
        return matching_content_address(info) is not None
    except FormatError:
        return False


async def _chunks(stream: IO[bytes], file: Path) -> AsyncIterator[bytes]:
    try:
        while chunk := await in_thread(stream.read, READ_SIZE):
            yield chunk
    except OSError as error:
        raise IntegrityError(f"{file} cannot be read: {error.strerror or error}") from error
