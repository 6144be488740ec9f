"""What was pruned, and may still be asked for by clients that are in the middle of a closure.

Pruning takes narinfos out of sight first (they are *retired*,
:mod:`mirror.destinations.cache.sweep`), and their files away a good while later. A client that was
given a narinfo before goes on to ask for what it refers to and, where it is a derivation's, for
what the derivation makes. Who was given what is not looked up, since that would be forgotten with
the server, and other servers never knew it: **for the length of a lease, what is retired is given
to anybody**, as if it were not. When it was retired is the time of its file, so this holds whatever
was started anew.

After that it is given only to whom it was promised in that time: who asked for something retired
that leads to it, less than a lease ago. Who comes new is not led there any more, so what is retired
falls out of use two leases after it was pruned, well before it is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING

from mirror.destinations.cache.layout import NARINFO_SUFFIX, RETIRED
from mirror.destinations.cache.nar_files import content_of
from mirror.errors import FormatError
from mirror.formats.aterm import parse_derivation
from mirror.formats.narinfo import parse_narinfo
from mirror.serve.library.leases import Leases
from mirror.serve.library.narinfos import read_narinfo
from mirror.serve.library.watching import state_of
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from mirror.formats.narinfo import NarInfo


class Retired:
    """The retired narinfos of a cache directory, for servers whose leases last so many seconds."""

    def __init__(self, cache: Path, lease_seconds: float) -> None:
        self._cache = cache
        self._directory = cache / RETIRED
        self._lease_seconds = lease_seconds
        self._leases = Leases(lease_seconds)
        self._since: dict[str, tuple[int, float]] = {}
        """By hash part, the time of the file and of the monotonic clock when it was retired."""
        self._referrers: Mapping[str, Collection[str]] = {}
        self._seen_state = self._read_state = 0
        self._reading = asyncio.Lock()

    async def look(self) -> None:
        """Take note of what was retired, so that a clock that is set later changes nothing."""
        if state_of(self._directory) != self._seen_state:
            await in_thread(self._look)

    async def find(self, hash_part: str) -> bytes | None:
        """The narinfo of a path that was retired, if it may still be given."""
        file = f"{self._directory}/{hash_part}{NARINFO_SUFFIX}"
        try:
            changed = os.stat(file, follow_symlinks=False).st_mtime_ns  # noqa: PTH116 - often
        except OSError:
            return None
        now = time.monotonic()
        if now - self._retired_at(hash_part, changed) < self._lease_seconds:
            self._leases.give(hash_part, now=now)
        elif not self._leases.has_any(now=now) or not self._leases.lead_to(
            hash_part, await self._all_referrers(), now=now
        ):
            return None
        return read_narinfo(file)

    def _look(self) -> None:
        state = state_of(self._directory)
        there = set()
        with contextlib.suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    hash_part = entry.name.removesuffix(NARINFO_SUFFIX)
                    self._retired_at(hash_part, entry.stat(follow_symlinks=False).st_mtime_ns)
                    there.add(hash_part)
        for gone in self._since.keys() - there:
            self._since.pop(gone, None)
        self._seen_state = state

    def _retired_at(self, hash_part: str, changed: int) -> float:
        """When a path was retired, by the monotonic clock."""
        known = self._since.get(hash_part)
        if known is not None and known[0] == changed:
            return known[1]
        age = max(0.0, time.time() - changed / 1e9)
        self._since[hash_part] = (changed, time.monotonic() - age)
        return self._since[hash_part][1]

    async def _all_referrers(self) -> Mapping[str, Collection[str]]:
        """For each path, what among the retired leads to it: it refers to it, or makes it."""
        async with self._reading:  # many requests come at once
            state = state_of(self._directory)
            if state != self._read_state:
                self._referrers = await in_thread(self._read)
                self._read_state = state
            return self._referrers

    def _read(self) -> Mapping[str, Collection[str]]:
        found: dict[str, set[str]] = {}
        for file in self._directory.glob(f"*{NARINFO_SUFFIX}"):
            with contextlib.suppress(FormatError, OSError):
                entry = parse_narinfo(read_narinfo(str(file)) or b"")
                for led_to in self._leads_to(entry):
                    found.setdefault(led_to, set()).add(entry.info.path.hash_part)
        return found

    def _leads_to(self, entry: NarInfo) -> Iterator[str]:
        for reference in entry.info.references:
            yield reference.hash_part
        if entry.info.path.is_derivation:
            content = content_of(self._cache, entry)
            for output in parse_derivation(entry.info.path, content).output_paths():
                yield output.hash_part
