"""Every error that prefetch raises on purpose, in one tree.

::

    PrefetchError
    ├── RequestError            the request cannot be understood            exit 2
    │   └── ListError           … a line of a list: file, line, column
    ├── EvaluationError         Nix could not evaluate a target             exit 1
    │   └── ArgumentError       … because no program can be told of it
    ├── FormatError             bytes are not what their format says        exit 1
    ├── SourceError             a source did not give a path                exit 1
    │   ├── NotAvailableError   it does not have it: ask the next source
    │   ├── TransientError      it may have it later: ask again
    │   └── IntegrityError      it gave something else: stop trusting it
    ├── IncompleteError         some of what was asked for is not there     exit 1
    ├── CommandError            a command of the user's own failed          exit 1
    ├── DestinationError        a destination cannot be used                exit 3
    │   ├── FullError           … because there is no room left
    │   └── LockedError         … because another run holds its lock
    └── ToolError               a program that is needed cannot be used     exit 3

An error's text says what is wrong, of which thing; its ``hint`` says what to do about it. What
servers and files have called things comes into such texts: a terminal is told nothing by it. Such
texts are kept, and shown to the network by a server: the credentials of URLs are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from mirror.masking import without_secrets

_LONGEST_PATH: Final = 4096
_ENDLESS: Final = re.compile(r"(\S{200})\S{3896,}")


class PrefetchError(Exception):
    """The root of the tree; ``exit_code`` is what the command exits with."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = shortened(printable(without_secrets(message)))
        super().__init__(self.message)
        self.hint = None if hint is None else shortened(printable(without_secrets(hint)))


class RequestError(PrefetchError):
    """The request cannot be understood; nothing was done."""

    exit_code: ClassVar[int] = 2


class ListError(RequestError):
    """A line of a list cannot be read."""

    def __init__(
        self, problem: str, *, file: str, line: int, column: int, expected: str | None = None
    ) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.problem = problem
        hint = f"expected {expected}" if expected else None
        super().__init__(f"{file}:{line}:{column}: {problem}", hint=hint)


class EvaluationError(PrefetchError):
    """Nix could not evaluate a target; ``message`` ends with Nix's own words.

    ``edit`` is the edit that it failed with, None if that is the target itself.
    """

    def __init__(self, message: str, *, hint: str | None = None, edit: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.edit = edit


class ArgumentError(EvaluationError):
    """An argument cannot be passed to a program: it is too long, or has a NUL byte."""


class FormatError(PrefetchError, ValueError):
    """Bytes are not what their format says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A place that was asked for a path and did not provide it.

    ``is_absence``: it merely does not have the path, which is nothing out of the ordinary where
    another place has it. ``is_refusal``: it has the path, and what it gives is not believed.
    """

    source: str
    error: str
    is_absence: bool = False
    is_refusal: bool = False

    def __str__(self) -> str:
        return self.error if self.source in self.error else f"{self.source}: {self.error}"


class SourceError(PrefetchError):
    """A source did not give a path.

    ``attempts`` are the places that it tried, where there were several.
    """

    attempts: tuple[Attempt, ...] = ()


class NotAvailableError(SourceError):
    """The source does not have it; asking again is useless."""


class TransientError(SourceError):
    """The source may have it later; ``retry_after`` is the pause it asked for, in seconds."""

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class IntegrityError(SourceError):
    """The source served wrong data; it is not trusted again in this run."""


class IncompleteError(PrefetchError):
    """Some of what was asked for is not there; its message may list reasons, one a line."""


class CommandError(PrefetchError):
    """A command that the user specified has failed."""


class DestinationError(PrefetchError):
    """A destination cannot be used: it is full, not writable, or malformed."""

    exit_code: ClassVar[int] = 3


class FullError(DestinationError):
    """There is no room left at the destination."""


class LockedError(DestinationError):
    """Another run holds the destination's lock."""


class ToolError(PrefetchError):
    """A program that is needed is missing, too old or does not work."""

    exit_code: ClassVar[int] = 3


def shortened(text: str) -> str:
    """``text`` with words that are longer than any path shortened."""
    return _ENDLESS.sub(r"\1…", text) if len(text) > _LONGEST_PATH else text


def printable(text: str) -> str:
    """``text`` with control and invisible characters escaped, except line breaks and tabs."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text
    )


def first_of(group: BaseExceptionGroup[PrefetchError]) -> PrefetchError:
    """The first error of a task group: what stopped it; the others followed from it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, PrefetchError)
    return error
