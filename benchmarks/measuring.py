"""Commands timed side by side: whole processes, in turns, with their peak memory.

Other work on the machine slows both sides of a comparison alike if they take turns, so what is
reported is the median of the ratios of the rounds, beside the medians of the times.
"""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")
_SAMPLE_SECONDS: Final = 0.01

_Measured = TypeVar("_Measured")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of a command took.

    ``seconds`` by the clock; ``processor_seconds`` of it and of all that it waited for;
    ``peak_bytes`` is the largest resident set of the process itself; ``output`` what it printed.
    """

    seconds: float
    processor_seconds: float
    peak_bytes: int
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two commands' runs, round by round."""

    ours: Sequence[Run]
    theirs: Sequence[Run]

    @property
    def processor_ratio(self) -> float:
        """The same of the processor's time, which other work on the machine disturbs less."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(
            our.processor_seconds / max(their.processor_seconds, 0.01) for our, their in pairs
        )

    @property
    def ratio(self) -> float:
        """Our time as a multiple of theirs: the median over the rounds."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(our.seconds / their.seconds for our, their in pairs)


def run(
    command: Sequence[str | Path],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    reads_output: bool = False,
) -> Run:
    """Run a command to its end; what it prints goes nowhere, unless it is asked for.

    Raises:
        RuntimeError: it failed; the text is what it said.

    """
    started = time.perf_counter()
    with subprocess.Popen(
        list(map(str, command)),
        cwd=directory,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if reads_output else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        usage = _children_seconds()
        with _Peak(process.pid) as peak:
            output, errors = process.communicate()
            seconds = time.perf_counter() - started
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{output or ''}{errors}")
    return Run(
        seconds=seconds,
        processor_seconds=_children_seconds() - usage,
        peak_bytes=peak.bytes,
        output=output or "",
    )


def in_turns(rounds: int, *sides: Callable[[], _Measured]) -> tuple[tuple[_Measured, ...], ...]:
    """Measure each side in turn, ``rounds`` times; what came of each.

    Each callable prepares what it needs before what it measures.
    """
    measured = [[side() for side in sides] for _ in range(rounds)]
    return tuple(zip(*measured, strict=True))


def compare(
    rounds: int, ours: Callable[[], Run], *theirs: Callable[[], Run]
) -> tuple[Comparison, ...]:
    """Run each in turn; ours compared with each of theirs."""
    ran, *others = in_turns(rounds, ours, *theirs)
    return tuple(Comparison(ours=ran, theirs=each) for each in others)


def median_seconds(runs: Sequence[Run]) -> float:
    """The median of the runs' times."""
    return statistics.median(each.seconds for each in runs)


def peak_megabytes(runs: Sequence[Run]) -> float:
    """The largest of the runs' peaks, in MB."""
    return max(each.peak_bytes for each in runs) / 1e6


def peak_bytes(process: int) -> int:
    """The largest resident set that a process has had.

    Raises:
        OSError: it is gone, or has ended and not been waited for.

    """
    found = _PEAK.search(Path(f"/proc/{process}/status").read_text())
    if found is None:
        raise ProcessLookupError(process, "it has ended")
    return int(found[1]) * 1024


class _Peak:
    """Reads a process's own peak until it ends: the kernel's sum is of its children, too."""

    def __init__(self, process: int) -> None:
        self.bytes = 0
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            with contextlib.suppress(OSError):
                self.bytes = peak_bytes(self._process)


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system
