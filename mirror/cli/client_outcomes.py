"""What a client would copy and build, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirror.cli.text import SHOWN
from mirror.quantities import number, size
from mirror.sync.probe.copying import by_cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.planning.missing import Missing
    from mirror.sync.probe.copying import Outcome


def outcome_lines(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """For people: how much from where, what is built, what cannot be had."""
    for each in outcomes:
        text = each.wish.text
        yield from _lines(f"{text} with the settings as they are", each.now)
        if each.mended is not None:
            yield from _lines(f"{text} with what is lacking", each.mended)


def _lines(label: str, found: Missing) -> Iterator[str]:
    copied = number(len(found.copy), "path")
    yield f"{label}: {copied} to copy, {number(len(found.build), 'derivation')} to build"
    for cache, claims in by_cache(found.copy).items():
        download = size(sum(each.download_bytes or 0 for each in claims))
        unpacked = size(sum(each.info.nar_size for each in claims))
        yield f"  {number(len(claims), 'path')} from {cache}, {download} ({unpacked} unpacked)"
    yield from _named("  to build: ", [path.name.removesuffix(".drv") for path in found.build])
    yield from _named("  nothing has: ", found.unknown)
    if found.refused:
        caches = sorted({claim.cache for each in found.refused.values() for claim in each})
        signers = sorted(
            {name for each in found.refused.values() for it in each for name in it.signers}
        )
        by = f"signed by {', '.join(signers)}" if signers else "not signed by anybody"
        yield (
            f"  {number(len(found.refused), 'path')} of {', '.join(caches)}, {by}, would be "
            "refused: no key that is trusted has a good signature of them"
        )


def _named(label: str, names: Iterable[str]) -> Iterator[str]:
    listed = sorted(names)
    if listed:
        more = f" and {len(listed) - SHOWN:,} more (--json lists all)"
        yield label + ", ".join(listed[:SHOWN]) + (more if len(listed) > SHOWN else "")


def outcome_members(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """For programs: all of it."""
    return [
        {
            "installable": each.wish.text,
            "wanted": each.wish.path,
            "now": _members(each.now),
            "mended": None if each.mended is None else _members(each.mended),
        }
        for each in outcomes
    ]


def _members(found: Missing) -> dict[str, Any]:
    return {
        "copy": [
            {
                "path": path,
                "from": claim.cache,
                "download_bytes": claim.download_bytes,
                "nar_bytes": claim.info.nar_size,
            }
            for path, claim in sorted(found.copy.items())
        ],
        "build": sorted(found.build),
        "unknown": sorted(found.unknown),
        "refused": [
            {
                "path": path,
                "caches": sorted({each.cache for each in claims}),
                "signers": sorted({name for each in claims for name in each.signers}),
            }
            for path, claims in sorted(found.refused.items())
        ],
    }
