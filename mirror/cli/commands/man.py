"""``prefetch man``: the manual page."""

from __future__ import annotations

from importlib.metadata import version

from mirror.cli.manual_page import lines
from mirror.cli.running import run, write_as_is


def command() -> None:
    """Print the manual page, for man(1).

    Read it with `prefetch man | man -l -`, or install it as prefetch.1 in a directory man1 of your
    MANPATH.
    """
    run(execute())


async def execute() -> int:
    """Print the page, as roff reads it."""
    write_as_is(lines(version("prefetch")))
    return 0
