"""What is fuzzed: a check that takes any bytes, and the errors that it may end with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

CORPUS: Final = Path(__file__).parent / "corpus"

Check = Callable[[bytes], None]
"""Returns where the bytes are accepted; fails where what it then promises of them is not so."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A parser: ``name`` is that of its corpus.

    ``checking`` gives the check, with what it needs as long as it is open. ``refusals`` are the
    documented errors; anything else that comes out is a finding. ``words`` are what inputs of this
    kind are made of. ``executions`` is how many mutations the tests run, ``longest`` the most bytes
    that an input has.
    """

    name: str
    checking: Callable[[], AbstractContextManager[Check]]
    refusals: tuple[type[Exception], ...] = (FormatError,)
    words: Sequence[bytes] = ()
    executions: int = 2_000
    longest: int = 4_096

    @property
    def corpus(self) -> list[bytes]:
        """The inputs to start from, in the order of their names."""
        return [file.read_bytes() for file in sorted((CORPUS / self.name).iterdir())]

    def accepts(self, check: Check, data: bytes) -> bool:
        """Whether the bytes are accepted; what is neither that nor refused is raised."""
        try:
            check(data)
        except self.refusals:
            return False
        return True


def plain(check: Check) -> Callable[[], AbstractContextManager[Check]]:
    """A check that needs nothing to be open."""
    return lambda: contextlib.nullcontext(check)
