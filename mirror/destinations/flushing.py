"""Making many files durable at once.

A flush waits for the disk, which serves many at a time: a disk that takes 10 ms for each takes
hardly more for thirty, and a journal writes what all of them have to wait for only once.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

AT_ONCE: Final = 32
"""So many threads wait for the disk."""


class Flusher:
    """Threads that wait for the disk, until the end of its context.

    They are its own: who waits here delays nothing else, and nobody is left without a thread by a
    process that was forked.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="flush")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def flush(self, descriptors: Sequence[int]) -> None:
        """Make the content of files durable. It blocks, until none of them is in use any more.

        Raises:
            OSError: that of one could not be.

        """
        if len(descriptors) == 1:
            os.fsync(descriptors[0])
            return
        # As few hand-overs as there are threads.
        slices = [descriptors[start::AT_ONCE] for start in range(min(AT_ONCE, len(descriptors)))]
        running = [self._pool.submit(_flush, each) for each in slices]
        errors = [each.exception() for each in running]
        for error in errors:
            if error is not None:
                raise error


def _flush(descriptors: Sequence[int]) -> None:
    for each in descriptors:
        os.fsync(each)
