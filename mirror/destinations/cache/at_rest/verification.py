"""``verify`` of a cache directory: read all of it again, and compare it with what was written.

Without the directory's lock, apparent damage is checked a second time: another run may have been
writing that file.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from mirror.destinations.cache.at_rest.inventory import AtRest
from mirror.destinations.cache.layout import NAR, NARS, RETIRED
from mirror.destinations.reading import check_all
from mirror.destinations.verified import Verified
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from mirror.destinations.cache.at_rest.inventory import Survey
    from mirror.destinations.cache.at_rest.path import PathAtRest
    from mirror.destinations.reading import Progress
    from mirror.destinations.verified import Damage
    from mirror.formats.store_path import StorePath


_LOOKS: Final = 2
"""How often more a file is looked at that seems damaged: the record is read first, and a run may
write to both in between."""


@dataclass
class _Found:
    """Results for the narinfos so far, by file name."""

    paths: dict[str, StorePath] = field(default_factory=dict)
    needed: dict[StorePath, str] = field(default_factory=dict)
    nars: set[str] = field(default_factory=set)
    damages: list[Damage] = field(default_factory=list)
    unproven: int = 0
    bytes: int = 0

    def add(self, path: PathAtRest) -> None:
        self.damages += path.damages
        self.unproven += path.is_unproven
        if path.nar is not None:
            self.nars.add(path.nar)
        # One that is damaged itself may name anything.
        if path.entry is not None and all(each.file != path.file for each in path.damages):
            info = path.entry.info
            self.paths[path.file] = info.path
            for reference in info.references:
                if reference != info.path:
                    self.needed.setdefault(reference, path.file)


async def verify_cache(
    directory: Path, progress: Progress, *, jobs: int, is_locked: bool
) -> Verified:
    """Read a cache directory; ``is_locked``: its lock is held, and no other run writes there.

    Raises:
        DestinationError: it, or something in it, may not be read.

    """
    at_rest = await in_thread(AtRest, directory)
    survey = await in_thread(at_rest.survey)
    progress.begin(sum(survey.nars.values()))
    try:
        found = await _read(at_rest, survey, progress, jobs=jobs)
    finally:
        progress.end()
    there = {file.rpartition("/")[2] for file in found.paths}
    needed = {**found.needed, **survey.kept}
    damages = [*survey.damages, *found.damages]
    damages += await in_thread(at_rest.missing, needed, there)
    for _ in range(0 if is_locked else _LOOKS):
        damages = await _look_again(directory, damages)
    named = {path.hash_part: path for path in needed}
    damaged = {each.narinfo for each in damages}
    return Verified(
        paths=len(survey.narinfos),
        files=survey.files + len(survey.nars) + len(survey.narinfos),
        bytes=survey.bytes + found.bytes,
        damages=tuple(_with_path(each, named) for each in damages),
        sound=frozenset(
            path
            for file, path in found.paths.items()
            if file not in damaged and not file.startswith(RETIRED)
        ),
        unproven=survey.unproven + found.unproven,
        strays=(
            *survey.strays,
            *(
                file
                for name in survey.nars
                if (file := f"{NARS}/{name}") not in found.nars and not NAR.fullmatch(name)
            ),
        ),
    )


async def _read(at_rest: AtRest, survey: Survey, progress: Progress, *, jobs: int) -> _Found:
    """Read every narinfo with its NAR, and then the files of ``nar`` that none of them names."""
    found = _Found()
    checks = map(at_rest.path, survey.narinfos)
    found.bytes = await check_all(checks, found.add, progress, jobs=jobs)
    for name, size in survey.nars.items():
        if f"{NARS}/{name}" not in found.nars:
            found.damages += await in_thread(at_rest.unnamed, name)
            found.bytes += size
            progress.read(size)
    return found


async def _look_again(directory: Path, damages: Collection[Damage]) -> list[Damage]:
    """Those of ``damages`` that are there still, by the record as it is now."""
    if not damages:
        return []
    at_rest = await in_thread(AtRest, directory)
    found: dict[tuple[str, str], Damage] = {}
    for damage in damages:
        for each in await in_thread(at_rest.again, damage):
            found[each.file, each.problem] = each
    return list(found.values())


def _with_path(damage: Damage, named: Mapping[str, StorePath]) -> Damage:
    """Say which path it is as whatever else names it does: its narinfo may be wrong about that."""
    if damage.narinfo is None:
        return damage
    part = damage.narinfo.rpartition("/")[2].partition(".")[0]
    return replace(damage, path=named.get(part, damage.path))
