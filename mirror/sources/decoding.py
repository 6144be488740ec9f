"""Decoding of Content-Encodings that were not requested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError, IntegrityError
from mirror.formats.compression import decompressor
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

_ENCODINGS: Final = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "br": "br",
    "zstd": "zstd",
    "xz": "xz",
    "x-xz": "xz",
    "bzip2": "bzip2",
    "x-bzip2": "bzip2",
}


async def decoded(
    body: AsyncIterator[bytes], encodings: Sequence[str], url: str, *, cap: int | None = None
) -> AsyncGenerator[bytes]:
    """The chunks of ``body``, which ``url`` gave, with its Content-Encodings undone.

    Raises:
        IntegrityError: the encoding is unknown or its data malformed, or gives more than ``cap``.

    """
    encoding = encodings[0]
    if len(encodings) > 1 or encoding not in _ENCODINGS:
        raise IntegrityError(f"{url}: unknown Content-Encoding {', '.join(encodings)}")
    stream = decompressor(_ENCODINGS[encoding])
    total = 0
    try:
        async for chunk in body:
            pieces = stream.feed(chunk)
            while (piece := await in_thread(next, pieces, None)) is not None:
                total += len(piece)
                if cap is not None and total > cap:
                    raise IntegrityError(f"{url}: larger than the {cap} bytes it may have")
                yield piece
        stream.finish()
    except FormatError as error:
        raise IntegrityError(f"{url}: Content-Encoding {encoding}: {error.message}") from error
