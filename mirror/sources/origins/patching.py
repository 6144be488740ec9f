"""A downloaded patch, normalised on disk as fetchpatch does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import FormatError, IntegrityError
from mirror.sources.origins.made import room_in
from mirror.sources.patches.normalise import MOST_BYTES, normalised
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.planning.fetchers.fixed_outputs import PatchOptions


async def normalised_file(file: Path, options: PatchOptions) -> Path:
    """A new file beside ``file`` with what fetchpatch makes of it.

    Raises:
        IntegrityError: it is not a patch, or of a form that only patchutils itself reads.
        DestinationError: the new file cannot be written.

    """
    return await in_thread(_normalise, file, options)


def _normalise(file: Path, options: PatchOptions) -> Path:
    target = file.with_name(f"{file.name}.normalised")
    with room_in(file.parent):
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise IntegrityError(f"it has {size:,} bytes, a patch may have {MOST_BYTES:,}")
        try:
            text = normalised(file.read_bytes(), options)
        except FormatError as error:
            raise IntegrityError(f"the patch cannot be normalised: {error.message}") from error
        target.write_bytes(text)
    return target
