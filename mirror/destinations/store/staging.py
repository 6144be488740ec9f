"""One path on its way into a Nix store: its NAR is staged until it is verified, then imported."""

from __future__ import annotations

import contextlib
import re
from typing import IO, TYPE_CHECKING, Final, Literal

from mirror.destinations import files
from mirror.errors import DestinationError, FullError
from mirror.nix.protocol import daemon
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from mirror.formats.store_path import StorePath
    from mirror.formats.verifier import VerifiedPath

IN_MEMORY: Final = 1 << 20
"""Up to this size, in bytes, a NAR is staged in memory."""
_CHUNK: Final = 1 << 20
_FULL: Final = re.compile(r"No space left|[Qq]uota exceeded|disk is full")


class StoreStaging:
    """A path's uncompressed NAR, in memory or in a nameless temporary file."""

    keeps: Literal["compressed", "nar"] = "nar"

    def __init__(
        self, connection: daemon.Connection, file: IO[bytes], temporary: Path, *, repair: bool
    ) -> None:
        self._connection = connection
        self._repair = repair
        self._file = file
        self._temporary = temporary
        self.is_committed = False

    def write(self, data: bytes) -> None:
        """Add bytes of the NAR."""
        with files.explained(self._temporary):
            self._file.write(data)

    async def add(self, verified: VerifiedPath) -> None:
        """Import the path; its references are valid already.

        Raises:
            DestinationError: Nix refused it, in Nix's words.

        """
        if verified.info.nar_size <= IN_MEMORY:
            self._file.seek(0)
            chunks = once(self._file.read())
        else:
            # This writes what is still buffered: before the request, which cannot be taken back.
            with files.explained(self._temporary):
                await in_thread(self._file.seek, 0)
            chunks = self._chunks()
        with refusals(verified.info.path):
            # Verified here already. Nix heeds this for users that it trusts only.
            await self._connection.add_to_store_nar(
                verified.info, chunks, check_signatures=False, repair=self._repair
            )
        self.is_committed = True

    async def _chunks(self) -> AsyncIterator[bytes]:
        with files.explained(self._temporary):
            while data := await in_thread(self._file.read, _CHUNK):
                yield data


async def once(data: bytes) -> AsyncIterator[bytes]:
    """All of it, in one piece."""
    yield data


@contextlib.contextmanager
def refusals(path: StorePath) -> Iterator[None]:
    """Turn Nix's refusal of a path into an error that says what to do."""
    try:
        yield
    except daemon.DaemonError as error:
        hint = error.hint
        kind = DestinationError
        if "signature" in error.message:
            hint = (
                "the Nix daemon does not trust you to add paths without a signature by a key of "
                "its `trusted-public-keys`: add the key there, add yourself to `trusted-users`, "
                "or run as root"
            )
        elif _FULL.search(error.message):
            kind = FullError
            hint = "make room on the store's file system; then run again to continue"
        raise kind(f"Nix refused {path}: {error.message}", hint=hint) from error
