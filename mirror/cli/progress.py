"""How a run tells what it is doing: a bar on a terminal, a line an event elsewhere.

Both write to standard error only; standard output is for data.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, Never

from mirror.cli.failures import retried_lines
from mirror.cli.running import write_error
from mirror.masking import without_secrets
from mirror.quantities import number, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from tqdm import tqdm

    from mirror.destinations.reading import Progress
    from mirror.formats.store_path import StorePath
    from mirror.sync.report import Observer, Outcome

_NAME_LENGTH: Final = 32


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

    def transfer_begins(self, paths: int, download_bytes: int) -> None:
        """Write how much is to come, as far as caches say how large it is."""
        known = f", {size(download_bytes)}" if download_bytes else ""
        self._write(f"fetching {number(paths, 'path')}{known}")

    def started(self, path: StorePath, source: str) -> None:
        """Say nothing."""

    def received(self, amount: int) -> None:
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
    """Passes all on to another observer, and keeps what a document tells of it.

    ``notices`` are texts, ``received_bytes`` what came from sources of every kind.
    """

    def __init__(self, observer: Observer) -> None:
        self.notices: list[str] = []
        self.received_bytes = 0
        self._notice = observer.notice
        self._received = observer.received
        self.step = observer.step
        self.transfer_begins = observer.transfer_begins
        self.started = observer.started
        self.finished = observer.finished
        self.transfer_ends = observer.transfer_ends

    def notice(self, text: str) -> None:
        """Keep the notice."""
        self.notices.append(text)
        self._notice(text)

    def received(self, amount: int) -> None:
        """Count what came."""
        self.received_bytes += amount
        self._received(amount)


class TerminalObserver:
    """For a person who watches: the step, then a bar with paths, bytes, rate, what is going on."""

    def __init__(self) -> None:
        self._bar: tqdm[Never] | None = None
        self._paths = 0
        self._settled = 0
        self._has_failed = False
        self._going_on: dict[StorePath, str] = {}

    def step(self, text: str) -> None:
        """Write the step, so that a long one is not mistaken for a hang."""
        write_error(f"{text} …")

    def notice(self, text: str) -> None:
        """Write the notice above the bar."""
        if self._bar is None:
            write_error(text)
        else:
            self._bar.write(without_secrets(text), file=sys.stderr)

    def transfer_begins(self, paths: int, download_bytes: int) -> None:
        """Show the bar."""
        self._paths, self._settled, self._has_failed = paths, 0, False
        self._bar = _bar(
            download_bytes,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {rate_fmt} {postfix}",
        )
        self._describe()

    def started(self, path: StorePath, source: str) -> None:
        """Show the newest path that is on its way."""
        self._going_on[path] = source
        self._describe()

    def received(self, amount: int) -> None:
        """Move the bar; what origins send is not in the caches' total, and is added to it."""
        if self._bar is not None:
            _move(self._bar, amount)

    def finished(self, outcome: Outcome) -> None:
        """Count the path, and say at once what failed or had to be tried again."""
        self._settled += 1
        self._going_on.pop(outcome.path, None)
        if outcome.result == "failed":
            self._has_failed = True
            self.notice(f"not obtained: {outcome.path.name}")
        for line in retried_lines(outcome):
            self.notice(line)
        self._describe()

    def transfer_ends(self) -> None:
        """Leave the finished bar on the screen, at its end if all was obtained.

        What is copied may be compressed, and be less than was said.
        """
        if self._bar is not None:
            if self._settled == self._paths and not self._has_failed:
                self._bar.total = int(self._bar.n)
            self._bar.set_postfix_str("", refresh=False)
            self._bar.close()
            self._bar = None

    def _describe(self) -> None:
        if self._bar is None:
            return
        self._bar.set_description_str(f"{self._settled:,}/{self._paths:,} paths", refresh=False)
        newest = next(reversed(self._going_on), None)
        shown = ""
        if newest is not None:
            shown = newest.name[:_NAME_LENGTH]
            others = len(self._going_on) - 1
            shown += f" and {others} more" if others else ""
        self._bar.set_postfix_str(shown, refresh=False)


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
        self._bar = _bar(total, leave=False)

    def read(self, amount: int) -> None:
        if self._bar is not None:
            _move(self._bar, amount)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _bar(total: int, *, bar_format: str | None = None, leave: bool = True) -> tqdm[Never]:
    """A bar of bytes."""
    from tqdm import tqdm  # noqa: PLC0415 - most runs have no terminal, or transfer nothing

    return tqdm(
        total=total,
        unit="B",
        unit_scale=True,
        dynamic_ncols=True,
        file=sys.stderr,
        bar_format=bar_format,
        leave=leave,
    )


def _move(bar: tqdm[Never], amount: int) -> None:
    """Move a bar on; where there is more than was known of, its end moves, too."""
    bar.total = max(bar.total or 0, int(bar.n) + amount)
    bar.update(amount)
