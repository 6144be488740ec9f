"""Whether upstream still has what is held, asked without downloading any of it.

Only certain results count. A server that does not answer, or does not say, proves nothing, and a
file that one place has, or might have, is not gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mirror.errors import SourceError
from mirror.formats import nar
from mirror.planning.fetchers.fixed_outputs import BuilderOnly, Download, Patch, RestoreNar, Unpack
from mirror.sources.server_errors import GoneError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.planning.fetchers.fixed_outputs import FixedOutput
    from mirror.sources.http.client import HttpClient


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for a path: ``gone`` is certain, and ``reason`` says why."""

    state: Literal["there", "gone", "unknown"]
    reason: str = ""


async def ask_urls(client: HttpClient, urls: Iterable[str], *, nar_size: int | None) -> Finding:
    """Ask each of the places that a file is, or was, at; gone is what none of them has.

    ``nar_size`` is the size in bytes of the NAR of the file itself, None where the file's own size
    is not known. A file of another size is another one.
    """
    reasons = []
    is_certain = True
    for url in urls:
        try:
            size = await client.head(url)
        except GoneError as error:
            reasons.append(error.message)
        except SourceError:
            is_certain = False
        else:
            # Many a server that does not know says 0.
            if nar_size is None or not size or _nar_size(size) == nar_size:
                return Finding("there")
            reasons.append(f"{url}: it is another file now, of {size:,} bytes")
    return Finding("gone", "; ".join(reasons)) if reasons and is_certain else Finding("unknown")


def origin_urls(fixed: FixedOutput) -> tuple[str, ...]:
    """Where a fixed output's file, archive or patch is published; a git repository is none."""
    origin = fixed.origin
    if isinstance(origin, BuilderOnly) and origin.attempt is not None:
        origin = origin.attempt
    return origin.urls if isinstance(origin, Download | RestoreNar | Unpack | Patch) else ()


def is_published_as_it_is(fixed: FixedOutput) -> bool:
    """Whether the file at its origin is the output itself, so that its size is known."""
    return isinstance(fixed.origin, Download) and fixed.mode == "flat"


def _nar_size(size: int) -> int:
    return nar.serialized_size(nar.Regular(size, executable=False, read=tuple))
