"""How long a run takes, and how much it receives."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.formats.store_path import StorePath
    from mirror.sync.report import Expected, Observer


class Meter:
    """Passes all on to another observer, and measures the run from now on.

    ``received_bytes`` is what came from a network, also what was thrown away again.
    ``clock`` gives seconds, and never goes back.
    """

    def __init__(self, observer: Observer, clock: Callable[[], float] = time.monotonic) -> None:
        self.received_bytes = 0
        self._clock = clock
        self._began = clock()
        self._received = observer.received
        self.step = observer.step
        self.notice = observer.notice
        self.counting = observer.counting
        self._transfer_begins = observer.transfer_begins
        self._local: frozenset[StorePath] = frozenset()
        self.started = observer.started
        self.finished = observer.finished
        self.transfer_ends = observer.transfer_ends

    @property
    def duration_seconds(self) -> int:
        """How long the run has taken so far, in whole seconds."""
        return round(self._clock() - self._began)

    def transfer_begins(self, expected: Expected) -> None:
        """Take down what does not come from a network."""
        self._local = expected.local
        self._transfer_begins(expected)

    def received(self, path: StorePath, amount: int) -> None:
        """Count what came."""
        if path not in self._local:
            self.received_bytes += amount
        self._received(path, amount)
