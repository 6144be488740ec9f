"""How a run tells what it is doing: a bar on a terminal, a line an event elsewhere.

Both write to standard error only; standard output is for data.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Final, Never

from mirror.cli.failures import retried_lines
from mirror.cli.live_line import LiveLine
from mirror.cli.running import write_error
from mirror.cli.transfer import Transfer
from mirror.quantities import duration, number, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tqdm import tqdm

    from mirror.cli.transfer import UnderWay
    from mirror.destinations.reading import Progress
    from mirror.formats.store_path import StorePath
    from mirror.sync.report import Count, Expected, Observer, Outcome

_NAME_LENGTH: Final = 32
_COLUMNS_EACH: Final = 45
"""For so many columns, one more of the paths that take longest is shown."""


def observer() -> Observer:
    """The observer that suits standard error."""
    return TerminalObserver() if sys.stderr.isatty() else LineObserver()


class LineObserver:
    """For cron, pipes and logs: one line for each event that is worth reading later.

    ``write`` takes the lines.
    """

    def __init__(self, write: Callable[[str], None] = write_error) -> None:
        self._write = write

    def step(self, text: str) -> None:
        """Say nothing: what a step leads to is said when it is known."""

    def notice(self, text: str) -> None:
        """Write the notice."""
        self._write(text)

    @contextlib.contextmanager
    def counting(self, text: str, total: int | None) -> Iterator[Count]:  # noqa: ARG002
        """Say nothing, as of each step."""
        yield _nothing

    def transfer_begins(self, expected: Expected) -> None:
        """Write how much is to come, as far as caches say how large it is."""
        parts = []
        if expected.sizes:
            known = f", {size(expected.known_bytes)}" if expected.known_bytes else ""
            parts.append(f"fetching {number(len(expected.sizes), 'path')}{known}")
        if expected.local:
            parts.append(f"copying {number(len(expected.local), 'path')} of this machine")
        self._write("; ".join(parts))

    def started(self, path: StorePath, source: str) -> None:
        """Say nothing."""

    def received(self, path: StorePath, amount: int) -> None:
        """Say nothing."""

    def finished(self, outcome: Outcome) -> None:
        """Write what had to be tried more than once; failures are in the final report."""
        for line in retried_lines(outcome):
            self._write(line)

    def transfer_ends(self) -> None:
        """Say nothing: the report follows."""


class QuietObserver(LineObserver):
    """For cron, where a line means a mail: keeps the lines until it is known that there is news."""

    def __init__(self) -> None:
        self._held_back: list[str] = []
        super().__init__(self._held_back.append)

    def release(self) -> None:
        """Write what was held back."""
        for line in self._held_back:
            write_error(line)
        self._held_back.clear()


class Noting:
    """Passes all on to another observer, and keeps the ``notices``, which a document has too."""

    def __init__(self, observer: Observer) -> None:
        self.notices: list[str] = []
        self._notice = observer.notice
        self.step = observer.step
        self.counting = observer.counting
        self.transfer_begins = observer.transfer_begins
        self.received = observer.received
        self.started = observer.started
        self.finished = observer.finished
        self.transfer_ends = observer.transfer_ends

    def notice(self, text: str) -> None:
        """Keep the notice."""
        self.notices.append(text)
        self._notice(text)


class TerminalObserver:
    """For a person who watches: each step, and a line of what is going on in it."""

    def __init__(self) -> None:
        self._line: LiveLine | None = None
        self._bar: _TransferBar | None = None

    def step(self, text: str) -> None:
        """Write the step, so that a long one is not mistaken for a hang."""
        self.notice(f"{text} …")

    @contextlib.contextmanager
    def counting(self, text: str, total: int | None) -> Iterator[Count]:
        """Show how many parts of the step have begun, and for how long it goes on."""
        if total == 0:
            yield _nothing
            return
        shown = _Counted(text, total)
        self._line = line = LiveLine(shown.render)

        def count(begun: int, newest: str = "") -> None:
            shown.begun, shown.newest = begun, newest
            line.changed()

        try:
            yield count
            shown.newest = ""
        finally:
            line.end()
            self._line = None

    def notice(self, text: str) -> None:
        """Write the notice above the line of what is going on."""
        if self._line is None:
            write_error(text)
        else:
            self._line.above(text)

    def transfer_begins(self, expected: Expected) -> None:
        """Show the bar."""
        self._bar = _TransferBar(expected)
        self._line = LiveLine(self._bar.render)

    def started(self, path: StorePath, source: str) -> None:  # noqa: ARG002 - the interface
        """Show that the path is on its way."""
        if self._bar is not None:
            self._bar.transfer.started(path)
        self._changed()

    def received(self, path: StorePath, amount: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.transfer.received(path, amount)
        self._changed()

    def finished(self, outcome: Outcome) -> None:
        """Count the path, and say at once what failed or had to be tried again."""
        if self._bar is not None:
            self._bar.transfer.settled(outcome.path, is_there=outcome.result != "failed")
        if outcome.result == "failed":
            self.notice(f"not obtained: {outcome.path.name}")
        for line in retried_lines(outcome):
            self.notice(line)
        self._changed()

    def transfer_ends(self) -> None:
        """Leave the finished bar on the screen."""
        if self._line is not None:
            self._line.end()
        self._line = self._bar = None

    def _changed(self) -> None:
        if self._line is not None:
            self._line.changed()


class _Counted:
    """The line of a step of many parts: ``evaluating 17 of 50 (host-17) 0:42``."""

    def __init__(self, text: str, total: int | None) -> None:
        self.begun, self.newest = 0, ""
        self._text, self._total, self._since = text, total, time.monotonic()

    def render(self, columns: int) -> str:
        if self._total is None:
            of = f": {number(self.begun, 'path')}"
        else:
            of = f" {self.begun:,} of {self._total:,}"
        passed = f" {duration(time.monotonic() - self._since)}"
        room = columns - len(self._text) - len(of) - len(passed)
        if room < 0:
            return f"{self._text[: columns - len(of) - len(passed) - 1]}…{of}{passed}"
        newest = f" ({self.newest})" if self.newest else ""
        return f"{self._text}{of}{_shortened(newest, room)}{passed}"


class _TransferBar:
    """The line of a transfer: paths, share, bar, bytes, rate, time left, what takes longest."""

    def __init__(self, expected: Expected) -> None:
        self._since = time.monotonic()
        self.transfer = Transfer(expected, self._since)

    def render(self, columns: int) -> str:
        # Most runs have no terminal, or transfer nothing.
        from tqdm import tqdm  # noqa: PLC0415

        head = f"{self._counts()} {int(self.transfer.share * 100):3}%"
        tail = self._measures()
        # A bar needs ten columns to be one, and four stand around it.
        room = columns - len(head) - len(tail) - 14
        for each in self.transfer.under_way()[: max(1, columns // _COLUMNS_EACH)]:
            shown = f", {_progress(each)}"
            if len(shown) <= room:
                tail += shown
                room -= len(shown)
        return str(
            tqdm.format_meter(
                n=self.transfer.share,
                total=1,
                elapsed=0,
                ncols=columns,
                prefix=head,
                bar_format=f"{{desc}} |{{bar}}| {tail}",
            )
        )

    def _counts(self) -> str:
        done, total = self.transfer.paths
        copied, local = self.transfer.local
        counts = [f"{done:,}/{total:,} paths"] if total or not local else []
        counts += [f"{copied:,}/{local:,} copied"] if local else []
        return ", ".join(counts)

    def _measures(self) -> str:
        now = time.monotonic()
        rate, left = self.transfer.measure(now)
        passed = duration(now - self._since)
        if not self.transfer.paths[1]:
            # What is copied on the machine is not counted in bytes.
            return f"in {passed}" if self.transfer.is_settled else passed
        received = size(self.transfer.bytes)
        if self.transfer.is_settled:
            return f"{received} in {passed}"
        remaining = "" if left is None else f", {duration(left)} left"
        return f"{received}, {size(int(rate))}/s{remaining}"


def _progress(path: UnderWay) -> str:
    """How far a path has come: ``firefox-133.0 63%``."""
    share = f"{min(99, path.received * 100 // path.size)}%" if path.size else size(path.received)
    return f"{path.path.name[:_NAME_LENGTH]} {share}"


def _shortened(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(0, room - 2)]}…)"[: max(0, room)]


def reading_progress() -> Progress:
    """The progress of a verification: a bar on a terminal, nothing elsewhere."""
    return _ReadingBar() if sys.stderr.isatty() else _Nobody()


class _Nobody:
    """For cron, pipes and logs."""

    def begin(self, total: int) -> None: ...

    def read(self, amount: int) -> None: ...

    def end(self) -> None: ...


class _ReadingBar:
    """For a person who watches: bytes, rate."""

    def __init__(self) -> None:
        self._bar: tqdm[Never] | None = None

    def begin(self, total: int) -> None:
        from tqdm import tqdm  # noqa: PLC0415 - most runs have no terminal

        self._bar = tqdm(
            total=total,
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
            file=sys.stderr,
            leave=False,
        )

    def read(self, amount: int) -> None:
        if self._bar is not None:
            # Where there is more than was known of, its end moves, too.
            self._bar.total = max(self._bar.total or 0, int(self._bar.n) + amount)
            self._bar.update(amount)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _nothing(begun: int, newest: str = "") -> None: ...
