"""The small files of a cache directory at rest: all but narinfos and NARs.

Each kind is compared with what :mod:`.inventory` says. Blocking, for use off the event loop.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from mirror.destinations import files
from mirror.destinations.cache.layout import (
    CACHE_INFO,
    CHECKSUMS,
    CONTENTS,
    DAMAGED,
    GENERATIONS,
    HIDDEN,
    LOCK,
    NARINFO,
    NARS,
    PUBLIC_KEYS,
    RECEIPTS,
    RETIRED,
    RUNS,
    SERVED,
    SERVING,
    STAGING,
    TEMPORARY,
)
from mirror.destinations.cache.looking.contents import TEMPORARY_PREFIX, is_sealed
from mirror.destinations.cache.signatures import parse_public_keys
from mirror.destinations.records.documents import file_name
from mirror.destinations.records.generation import MANIFEST
from mirror.destinations.records.receipt import RECEIPT
from mirror.destinations.records.run_record import RUN_RECORD
from mirror.destinations.verified import Damage
from mirror.errors import FormatError
from mirror.formats.cache_info import parse_cache_info

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mirror.destinations.cache.checksums import Recorded
    from mirror.destinations.records.documents import Kind
    from mirror.formats.store_path import StorePath

_HOLDER: Final = re.compile(rb"(process [0-9]+ on \S+ since \S+ \S+\n)?")
_DIRECTORIES: Final = frozenset({HIDDEN, NARS, GENERATIONS, RECEIPTS, RUNS})
_HIDDEN: Final = frozenset({LOCK, SERVING, SERVED, CHECKSUMS, CONTENTS, RETIRED, DAMAGED, STAGING})
_CACHE_INFO_HINT: Final = (
    "`prefetch verify --repair` writes it as `prefetch sync` does; if you changed it yourself, "
    f"remove {CHECKSUMS}, and the next generation kept records it as it is"
)
_KEYS_HINT: Final = "correct it: each line is a key, as `prefetch key show` prints it"
_MANIFEST_HINT: Final = (
    "it says what a generation keeps, and nothing is pruned while it cannot be read: remove it, "
    "and `prefetch sync` makes a new generation"
)
_LOST_HINT: Final = (
    "sync again, which makes a new generation: until then, a prune takes what only this one kept"
)
_NUMBERED: Final = re.compile(r"[0-9]+\.json")
_RECEIPT_HINT: Final = "it says what a rehearsal came to: remove it, and rehearse again"
_RECORD_HINT: Final = "it says what the last sync came to: remove it, and sync again"
_REPAIRED: Final = frozenset({CACHE_INFO, CHECKSUMS, CONTENTS, SERVING, LOCK})
"""What a repair writes anew; the others are nobody else's."""


class SmallFiles:
    """The small files of the cache ``directory``, to be checked.

    After :meth:`check`, ``kept`` are the paths of the generations, each with the manifest that
    names it; ``damages`` are what is wrong; ``strays`` are not of the cache. ``read`` are the
    files that were read, with their sizes in bytes, of which ``unproven`` cannot be compared with
    anything.
    """

    def __init__(self, directory: Path, recorded: Recorded) -> None:
        self.kept: dict[StorePath, str] = {}
        self.damages: list[Damage] = []
        self.strays: list[str] = []
        self.read: dict[str, int] = {}
        self.unproven = 0
        self._directory = directory
        self._recorded = recorded
        self._newest: dict[str, tuple[int, str]] = {}
        """The number of each target's newest generation by its run record, which that is."""

    def check(self) -> None:
        """Read all of them.

        Raises:
            OSError: a directory cannot be listed, or a file may not be read.

        """
        self._check_recorded(CACHE_INFO, parse_cache_info, _CACHE_INFO_HINT)
        self._check_recorded(PUBLIC_KEYS, parse_public_keys, _KEYS_HINT)
        self._check_own_files()
        for target in names(self._directory / GENERATIONS):
            directory = f"{GENERATIONS}/{target}"
            if (self._directory / directory).is_dir():
                self._check_documents(directory, MANIFEST, _MANIFEST_HINT)
            else:
                self.strays.append(directory)
        self._check_documents(RECEIPTS, RECEIPT, _RECEIPT_HINT)
        self._check_documents(RUNS, RUN_RECORD, _RECORD_HINT)
        self._check_newest()
        known = {CACHE_INFO, PUBLIC_KEYS, *_DIRECTORIES}
        self.strays += [
            name
            for name in names(self._directory)
            if name not in known and not NARINFO.fullmatch(name)
        ]

    def _content(self, file: str, hint: str) -> bytes | None:
        """A file's content; None if it is missing or cannot be read, which is noted."""
        try:
            data = files.read_plain_file(self._directory / file)
        except FileNotFoundError:
            return None
        except PermissionError:
            raise
        except OSError as error:
            self._damage(file, f"it cannot be read: {error.strerror}", hint)
            return None
        self.read[file] = len(data)
        return data

    def _damage(self, file: str, problem: str, hint: str) -> None:
        is_mended_by_hand = file not in _REPAIRED
        self.damages.append(
            Damage(file=file, problem=problem, hint=hint, is_mended_by_hand=is_mended_by_hand)
        )

    def _check_recorded(self, file: str, parse: Callable[[bytes], object], hint: str) -> None:
        data = self._content(file, hint)
        if data is None:
            if file in self._recorded.lines and not os.path.lexists(self._directory / file):
                self._damage(file, "it is missing", hint)
            return
        self.unproven += self._recorded.knows(file, data) is None
        try:
            parse(data)
        except FormatError as error:
            self._damage(file, error.message, hint)
        else:
            objection = self._recorded.objection(file, data)
            if objection is not None:
                self._damage(file, objection, hint)

    def _check_own_files(self) -> None:
        """Check what is in ``.prefetch``: the record is that of who made ``recorded``."""
        if self._recorded.problem is not None:
            self._damage(CHECKSUMS, self._recorded.problem, "`prefetch sync` makes it again")
        self._content(CHECKSUMS, "`prefetch sync` makes it again")
        harmless = "it is not needed: remove it while nothing is running here"
        contents = self._content(CONTENTS, harmless)
        if contents is not None and not is_sealed(contents):
            self._damage(CONTENTS, "its own checksum does not match", harmless)
        held = self._content(LOCK, harmless)
        if held is not None and not _HOLDER.fullmatch(held):
            self._damage(LOCK, "it is not what a run writes there", harmless)
        if self._content(SERVING, harmless):
            self._damage(SERVING, "it is not empty, although it is only locked", harmless)
        self.strays += [
            file
            for name in names(self._directory / HIDDEN)
            if (file := f"{HIDDEN}/{name}") not in _HIDDEN and not name.startswith(TEMPORARY_PREFIX)
        ]
        self.strays += [
            f"{RETIRED}/{name}"
            for name in names(self._directory / RETIRED)
            if not NARINFO.fullmatch(name)
        ]

    def _check_documents(self, directory: str, kind: Kind[Any], hint: str) -> None:
        for name in names(self._directory / directory):
            file = f"{directory}/{name}"
            if TEMPORARY.fullmatch(name):
                continue  # somebody is writing it, or was killed; `prune` removes it then
            if not name.endswith(".json"):
                self.strays.append(file)
                continue
            data = self._content(file, hint)
            if data is None:
                continue
            try:
                self.unproven += not kind.is_sealed(data)
                value = kind.parse(data)
            except FormatError as error:
                self._damage(file, error.message, hint)
            else:
                if kind is MANIFEST:
                    for path in value.paths:
                        self.kept.setdefault(path, file)
                elif kind is RUN_RECORD and value.number is not None:
                    self._newest[value.target] = (value.number, file)

    def _check_newest(self) -> None:
        """Check that no target lost its newest generation, which no prune removes."""
        for target, (number, record) in self._newest.items():
            directory = f"{GENERATIONS}/{file_name(target)}"
            there = [
                int(name.removesuffix(".json"))
                for name in names(self._directory / directory)
                if _NUMBERED.fullmatch(name)
            ]
            if number > max(there, default=0):
                problem = f"it is missing, and {record} names it"
                self._damage(f"{directory}/{number}.json", problem, _LOST_HINT)


def names(directory: Path) -> list[str]:
    """The names in a directory, sorted; none if it is missing."""
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return []
