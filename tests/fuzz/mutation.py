"""Bytes that are nearly right: mutations of what was accepted, the same for the same seed."""

from __future__ import annotations

import random
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz.target import Check, Target

_NUMBERS: Final = (0, 1, 7, 8, 64, 255, 256, 4096, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
_TEXTS: Final = (b"", b"0", b"-1", b"1e999", b"9" * 30, b"\0", b"\xff", b"\xc3\xa4", b"\n", b"..")
_AT_ONCE: Final = 4
_KEPT: Final = 300


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a campaign came to."""

    executions: int
    accepted: int


class Finding(Exception):  # noqa: N818 - it is what one looks for
    """Something else than a documented error came out; ``data`` is the input."""

    def __init__(self, target: str, data: bytes) -> None:
        super().__init__(f"{target}: {data!r}")
        self.data = data


@dataclass(kw_only=True)
class Mutations:
    """Inputs for a target, without an end.

    What is accepted is mutated on, so that several changes that need each other can come together.
    """

    target: Target
    random: random.Random
    corpus: Sequence[bytes] | None = None
    """None: the target's."""
    _pool: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pool = list(self.target.corpus if self.corpus is None else self.corpus)
        self._fixed = len(self._pool)

    def next(self) -> bytes:
        """Another input."""
        data = self.random.choice(self._pool)
        for _ in range(self.random.randint(1, _AT_ONCE)):
            data = self._changed(data)
        return data[: self.target.longest]

    def was_accepted(self, data: bytes) -> None:
        """Start from ``data``, too."""
        if len(self._pool) < _KEPT:
            self._pool.append(data)
        else:
            self._pool[self.random.randrange(self._fixed, _KEPT)] = data

    def _changed(self, data: bytes) -> bytes:
        start = self.random.randint(0, len(data))
        end = min(len(data), start + self.random.choice((0, 1, 1, 2, 4, 8, 16, 64)))
        before, part, after = data[:start], data[start:end], data[end:]
        change = self.random.randrange(8)
        if change == 0:
            part = self.random.randbytes(len(part))
        elif change == 1:
            part = b""
        elif change == 2:
            part *= self.random.choice((2, 3, 100))
        elif change == 3:
            part = self.random.choice((*self.target.words, *_TEXTS))
        elif change == 4:
            other = self.random.choice(self._pool)
            place = self.random.randint(0, len(other))
            part = other[place : place + 64]
        elif change == 5:
            number = struct.pack("<Q", self.random.choice(_NUMBERS))
            before, after = data[: start // 8 * 8], data[start // 8 * 8 + 8 :]
            part = number
        elif change == 6:
            part = bytes(byte ^ 1 << self.random.randrange(8) for byte in part)
        else:
            part, after = after, part
        return before + part + after


def run(target: Target, check: Check, *, seed: int, seconds: float | None = None) -> Figures:
    """Check the corpus, and then as many mutations as tests run, or as fit in so many seconds.

    Raises:
        Finding: caused by what came out.

    """
    mutations = Mutations(target=target, random=random.Random(seed))
    accepted = sum(_tried(target, check, data) for data in target.corpus)
    executions = 0
    end = time.monotonic() + (seconds or 0)
    while executions < target.executions if seconds is None else time.monotonic() < end:
        data = mutations.next()
        executions += 1
        if _tried(target, check, data):
            accepted += 1
            mutations.was_accepted(data)
    return Figures(executions=executions, accepted=accepted)


def _tried(target: Target, check: Check, data: bytes) -> bool:
    try:
        return target.accepts(check, data)
    except Exception as error:
        raise Finding(target.name, data) from error
