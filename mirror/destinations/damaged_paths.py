"""Which paths of a cache directory are damaged, as far as can be told without reading their NARs.

A narinfo is compared with the record (:mod:`.checksums`), and its NAR's size with the narinfo. A
path that is found damaged here counts as lacking, so that a sync obtains it again; whoever cannot
obtain it names the file, and no cache. ``prefetch verify`` reads the NARs too. Blocking, for use
off the event loop.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mirror.destinations import files
from mirror.destinations.checksums import read_checksums
from mirror.destinations.damage import Damage
from mirror.errors import FormatError
from mirror.formats.narinfo import parse_narinfo

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from mirror.destinations.checksums import Recorded
    from mirror.formats.store_path import StorePath


def damaged_paths(directory: Path, paths: Collection[StorePath]) -> dict[StorePath, Damage]:
    """Those of ``paths`` that are damaged in the cache ``directory``, each with what is wrong.

    A path that has no narinfo is absent, not damaged.

    Raises:
        DestinationError: a file may not be read.

    """
    with files.explained(directory):
        names = set(os.listdir(directory)) if directory.is_dir() else frozenset()  # noqa: PTH208 - names alone
        found = _look(directory, [path for path in paths if _narinfo(path) in names])
        # Without the lock: the record is read first, and another run may write to both in between.
        return _look(directory, found) if found else found


def _look(directory: Path, paths: Collection[StorePath]) -> dict[StorePath, Damage]:
    recorded = read_checksums(directory) if paths else None
    found = {}
    for path in paths:
        assert recorded is not None
        damage = _damage(directory, path, recorded)
        if damage is not None:
            found[path] = damage
    return found


def _damage(directory: Path, path: StorePath, recorded: Recorded) -> Damage | None:
    name = _narinfo(path)
    data, problem = _read(directory / name)
    if data is None:
        return _at(path, name, problem)
    if recorded.knows(name, data) is False:
        return _at(path, name, "it is not what was recorded when it was written")
    try:
        entry = parse_narinfo(data)
    except FormatError as error:
        return _at(path, name, error.message)
    if entry.info.path != path:
        return _at(path, name, f"it is about {entry.info.path}")
    return _at(path, entry.url, _nar_problem(directory / entry.url, entry.file_size, name))


def _read(file: Path) -> tuple[bytes | None, str | None]:
    """What is in a file, or why it cannot be read; neither of one that is not there."""
    try:
        return files.read_plain_file(file), None
    except FileNotFoundError:
        return None, None
    except PermissionError:
        raise
    except OSError as error:
        return None, f"it cannot be read: {error.strerror}"


def _nar_problem(nar: Path, expected: int | None, narinfo: str) -> str | None:
    try:
        size = nar.stat().st_size
    except FileNotFoundError:
        return f"it is missing, and {narinfo} names it"
    except PermissionError:
        raise
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    is_whole = expected in {None, size}
    return None if is_whole else f"it is {size} bytes long, and was {expected}"


def _at(path: StorePath, file: str, problem: str | None) -> Damage | None:
    if problem is None:
        return None
    return Damage(file=file, problem=problem, path=path, narinfo=_narinfo(path), is_unfit=True)


def _narinfo(path: StorePath) -> str:
    return f"{path.hash_part}.narinfo"
