"""How far a transfer has come: what is counted of it, apart from how it is shown.

What comes from a network counts by its bytes where a cache has said how many there are, and by
paths where nobody has. What is copied on this machine is counted for itself: it takes no time worth
a mention beside a network. The share that is done never becomes less, whatever has to be fetched
again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mirror.formats.store_path import StorePath
    from mirror.sync.report import Expected

_WINDOW_SECONDS: Final = 30
"""How far back the rate is measured."""
_SAMPLE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A path that is on its way, and how many bytes of it are there; ``size`` is as said."""

    path: StorePath
    received: int
    size: int | None

    @property
    def remaining(self) -> int:
        """How many bytes are still to come, as far as is known."""
        return max(0, (self.size or 0) - self.received)


class Transfer:
    """What of a transfer is done. Times are seconds of a clock that never goes back."""

    def __init__(self, expected: Expected, now: float) -> None:
        """Begin, now."""
        self._sizes = expected.sizes
        self._local = expected.local
        self._counted: dict[StorePath, int] = {}
        self._attempt: dict[StorePath, int] = {}
        self._settled: set[StorePath] = set()
        self._failed: set[StorePath] = set()
        self._sized_bytes = sum(size for size in expected.sizes.values() if size is not None)
        self._sized_done = 0
        self.bytes = 0
        """How many bytes have come from a network."""
        self._samples = deque([(now, 0, 0.0)])

    def started(self, path: StorePath) -> None:
        """A source begins to send a path, perhaps anew."""
        self._attempt[path] = 0

    def received(self, path: StorePath, amount: int) -> None:
        """More of a path has come."""
        self._attempt[path] = self._attempt.get(path, 0) + amount
        if path not in self._local:
            self.bytes += amount
            self._count(path, self._attempt[path])

    def settled(self, path: StorePath, *, is_there: bool) -> None:
        """Nothing more comes of a path."""
        self._settled.add(path)
        self._attempt.pop(path, None)
        size = self._sizes.get(path)
        if not is_there:
            self._failed.add(path)
        elif size is not None:
            self._count(path, size)

    def _count(self, path: StorePath, received: int) -> None:
        size = self._sizes.get(path)
        if size is not None:
            before = self._counted.get(path, 0)
            self._counted[path] = max(before, min(size, received))
            self._sized_done += self._counted[path] - before

    @property
    def paths(self) -> tuple[int, int]:
        """How many paths of a network are settled, and how many there are."""
        return len(self._settled & self._sizes.keys()), len(self._sizes)

    @property
    def local(self) -> tuple[int, int]:
        """How many paths of this machine are settled, and how many there are."""
        return len(self._settled & self._local), len(self._local)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more comes."""
        return len(self._settled) >= len(self._sizes) + len(self._local)

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1: of what comes from a network, if anything does."""
        done, total = self.paths
        if not total:
            done, total = self.local
            return done / total if total else 1.0
        sized = sum(size is not None for size in self._sizes.values())
        there = self._settled - self._failed
        unsized_done = sum(self._sizes.get(path, 0) is None for path in there)
        by_bytes = self._sized_done / self._sized_bytes if self._sized_bytes else done / total
        return (sized * by_bytes + unsized_done) / total

    def under_way(self) -> list[UnderWay]:
        """What is being received, what takes longest first."""
        found = [
            UnderWay(path, received, self._sizes.get(path))
            for path, received in self._attempt.items()
            if path not in self._local
        ]
        return sorted(found, key=lambda each: (-each.remaining, -each.received, each.path))

    def measure(self, now: float) -> tuple[float, float | None]:
        """The bytes a second of the last half minute, and how many seconds are left, if known."""
        share = self.share
        if now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now, self.bytes, share))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW_SECONDS:  # noqa: PLR2004
            self._samples.popleft()
        then, bytes_then, share_then = self._samples[0]
        passed = now - then
        if passed <= 0:
            return 0.0, None
        gained = share - share_then
        return (self.bytes - bytes_then) / passed, (
            (1 - share) * passed / gained if gained > 0 else None
        )
