"""Numbers and sizes as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta


def size(count: int) -> str:
    """A number of bytes: ``812 B``, ``1.2 MB`` (powers of 1,000).

    >>> size(812), size(1_234_567)
    ('812 B', '1.2 MB')
    """
    if count < 1000:  # noqa: PLR2004 - the step between units
        return f"{count} B"
    value = count / 1000
    for unit in ("kB", "MB", "GB"):
        if value < 999.95:  # noqa: PLR2004 - what would be shown as 1000.0
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def number(count: int, noun: str) -> str:
    """A count with its noun: ``1 path``, ``12,345 paths``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def moment(when: datetime) -> str:
    """A point in time, in the local time zone, to the minute."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M")


def duration(seconds: float) -> str:
    """A length of time: ``0:42``, ``1:02:03``.

    >>> duration(42), duration(3_723.9)
    ('0:42', '1:02:03')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def age(passed: timedelta) -> str:
    """How long ago something was, in its largest unit: ``3 hours ago``.

    >>> from datetime import timedelta
    >>> age(timedelta(hours=3, minutes=50)), age(timedelta(seconds=5))
    ('3 hours ago', 'just now')
    """
    seconds = int(passed.total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return f"{number(seconds // length, unit)} ago"
    return "just now"
