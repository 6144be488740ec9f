"""Answers: what is sent for a request, and which part of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class InMemory:
    """Content that is in memory."""

    data: bytes


@dataclass(frozen=True, slots=True)
class InFile:
    """A file's content; a file of another size is damaged, and not sent (None: of any size)."""

    path: Path
    size: int | None


@dataclass(frozen=True, slots=True)
class Made:
    """Content that is generated while it is sent: ``pieces`` yields it, and may block.

    What it raises (OSError, FormatError), or another length than ``size``, ends the connection:
    whoever asked sees that the content is cut short.
    """

    size: int
    pieces: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Content with its HTTP metadata.

    ``tag`` identifies the content (an entity tag without its quotes); ``is_lasting`` means that
    this address never has other content. ``policy`` is what a browser may do with it, as a
    Content-Security-Policy.
    """

    body: InMemory | InFile | Made
    content_type: str
    tag: str
    is_lasting: bool = False
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal and its reason; ``is_notable`` if it should be logged."""

    status: HTTPStatus
    reason: str
    is_notable: bool = False


def text_answer(data: bytes, content_type: str, *, policy: str | None = None) -> Answer:
    """An answer with content that may change, and must not be cached for long."""
    tag = sha256(data).hexdigest()[:32]
    return Answer(body=InMemory(data), content_type=content_type, tag=tag, policy=policy)


MISSING: Final = Refusal(HTTPStatus.NOT_FOUND, "there is nothing at this address")


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes from ``start`` up to ``end``, which is not among them."""

    start: int
    end: int


def part(
    range_header: str | None, *, size: int, if_range: str | None, tag: str
) -> Part | Literal["whole", "unsatisfiable"]:
    """Which part of ``size`` bytes is asked for, as RFC 9110 (section 14) has it.

    A range is meant only while ``if_range`` still is the content's tag. One that cannot be read, is
    in other units, or is one of several, is passed over, as a server may do.

    >>> part("bytes=2-3", size=10, if_range=None, tag="t")
    Part(start=2, end=4)
    >>> part("bytes=-4", size=10, if_range=None, tag="t")
    Part(start=6, end=10)
    """
    found = _RANGE.fullmatch(range_header.strip()) if range_header else None
    if found is None or (if_range is not None and if_range.strip() != f'"{tag}"'):
        return "whole"
    first, last = found[1], found[2]
    if not first and not last:
        return "whole"
    if first and last and int(first) > int(last):
        return "whole"
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    return Part(start, end) if start < end else "unsatisfiable"


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether a client has the content already, as its If-None-Match says."""
    if if_none_match is None:
        return False
    listed = {word.strip().removeprefix("W/") for word in if_none_match.split(",")}
    return "*" in listed or f'"{tag}"' in listed
