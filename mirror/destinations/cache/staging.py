"""One NAR on its way into a cache directory: written under a temporary name, then published."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal

from mirror.destinations import files
from mirror.destinations.cache.layout import NARS
from mirror.formats.compression import ZstdCompressor, compress_by_zstd
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import NarInfo

if TYPE_CHECKING:
    from mirror.formats.verifier import Claim, VerifiedPath

_EXTENSIONS: Final = {
    "none": "",
    "xz": ".xz",
    "zstd": ".zst",
    "bzip2": ".bz2",
    "gzip": ".gz",
    "br": ".br",
}


_WHOLE_BYTES: Final = 1 << 18
"""Up to this size a NAR that is made here is compressed at once, and staged in memory.

Hundreds may wait for what they refer to, most of them of a few thousand bytes: each would have a
file open, and a compressor that is prepared for a long stream.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedNar:
    """A NAR in a temporary file, all of it given to the system, and the narinfo that it is to have.

    ``made_here``: nobody upstream vouches for it, so the cache's own key may.
    """

    staging: CacheStaging
    temporary: Path
    descriptor: int
    entry: NarInfo
    made_here: bool


class CacheStaging:
    """The staging of a cache directory; what was not made upstream is compressed on the way.

    ``mode`` is that of the NAR's file.
    """

    keeps: Literal["compressed", "nar"] = "compressed"

    def __init__(
        self,
        claim: Claim,
        *,
        temporaries: Path,
        mode: int = files.FILE_MODE,
    ) -> None:
        self._mode = mode
        self._claim = claim
        self._temporaries = temporaries
        is_made = claim.made_here and claim.compression == "none"
        is_small = claim.info.nar_size <= _WHOLE_BYTES
        self._whole = _Whole(claim.info.nar_size) if is_made and is_small else None
        self._compressor = ZstdCompressor() if is_made and not is_small else None
        self._hash = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self._temporary = temporaries
        self.is_committed = False

    def write(self, data: bytes) -> None:
        """Add bytes, as they arrive.

        Raises:
            DestinationError: no room, or no permission.

        """
        if self._whole is not None:
            self._whole.add(data)
        elif self._compressor is None:
            self._append(data)
        else:
            self._append_made(self._compressor.feed(data))

    def discard(self) -> None:
        """Remove what was staged and not published."""
        if self._file is None:
            return
        # What is still buffered is of no use, so neither is an error in writing it.
        with contextlib.suppress(OSError):
            self._file.close()
        if not self.is_committed:
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def finish(self, verified: VerifiedPath) -> StagedNar:
        """Write what is left of it. It blocks, and is called off the event loop.

        Raises:
            DestinationError: no room, or no permission.

        """
        compression = self._claim.compression
        file_hash, file_size = verified.file_hash, verified.file_size
        is_made = self._whole is not None or self._compressor is not None
        if self._whole is not None:
            self._append_made(self._whole.compressed)
        elif self._compressor is not None:
            self._append_made(self._compressor.finish())
        if is_made:
            compression = "zstd"
            file_hash = Hash("sha256", self._hash.digest())
        with files.explained(self._temporary):
            assert self._file is not None, "every NAR has bytes"
            files.complete(self._file, mode=self._mode)
            if is_made:
                file_size = self._file.tell()
        url = f"{NARS}/{file_hash.base32}.nar{_EXTENSIONS[compression]}"
        return StagedNar(
            staging=self,
            temporary=self._temporary,
            descriptor=self._file.fileno(),
            entry=NarInfo(
                info=verified.info,
                url=url,
                compression=compression,
                file_hash=file_hash,
                file_size=file_size,
            ),
            made_here=self._claim.made_here,
        )

    def _append_made(self, data: bytes) -> None:
        self._hash.update(data)
        self._append(data)

    def _append(self, data: bytes) -> None:
        with files.explained(self._temporary):
            if self._file is None:
                descriptor, name = tempfile.mkstemp(dir=self._temporaries, suffix=".nar")
                self._temporary = Path(name)
                self._file = os.fdopen(descriptor, "wb")
            self._file.write(data)


class _Whole:
    """A NAR of ``size`` bytes, which is compressed as soon as all of it has come."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pieces: list[bytes] = []
        self.compressed = b""

    def add(self, data: bytes) -> None:
        if not data:
            return  # after the last piece it would be taken for all there is
        self._pieces.append(data)
        self._size -= len(data)
        if self._size <= 0:
            self.compressed = compress_by_zstd(b"".join(self._pieces))
            self._pieces.clear()
