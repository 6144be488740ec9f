"""The NARs of a cache directory whose narinfo is damaged.

The narinfo vouches for nothing then. A path is believed for a signature by a trusted key, or if its
name follows from its content and its references.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.destinations import files
from mirror.destinations.cache.layout import nar_name, narinfo_name
from mirror.destinations.cache.nar_files import open_nar
from mirror.errors import FormatError, NotAvailableError
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.verifier import Claim
from mirror.planning.vouching import follows_from_its_content
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mirror.destinations.capabilities import KeptNar
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import TrustedKeys
    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What is left in the cache ``directory``; ``keys`` are the trusted ones.

    What nothing vouches for is left out of the narinfo that is made: signatures that are not those
    of a trusted key, and the deriver.
    """

    directory: Path
    keys: TrustedKeys
    name: str = "what is left of it here"

    @contextlib.asynccontextmanager
    async def read(self, path: StorePath) -> AsyncIterator[KeptNar]:
        """Open the path's NAR.

        Raises:
            NotAvailableError: there is none, or nothing vouches for what its narinfo says.

        """
        file = self.directory / narinfo_name(path)
        try:
            entry = parse_narinfo(await in_thread(files.read_plain_file, file))
        except OSError as error:
            problem = error.strerror or str(error)
            raise NotAvailableError(f"its narinfo cannot be read: {problem}") from error
        except FormatError as error:
            raise NotAvailableError(f"its narinfo cannot be read: {error.message}") from error
        info = self._vouched_for(entry.info)
        if info is None or info.path != path or nar_name(entry.url) is None:
            raise NotAvailableError("nothing vouches for what its narinfo says")
        # Nobody vouches for what it says of the file, which the NAR's own hash proves.
        claim = Claim(info=info, compression=entry.compression)
        async with open_nar(self.directory, entry, claim) as kept:
            yield kept

    def _vouched_for(self, info: PathInfo) -> PathInfo | None:
        signatures = tuple(
            each
            for each in info.signatures
            if self.keys.verify(replace(info, signatures=(each,))) is not None
        )
        if not signatures and not follows_from_its_content(info):
            return None
        return replace(info, signatures=signatures, deriver=None)
