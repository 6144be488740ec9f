"""The version of this program."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def program_version() -> str:
    """The version of this program; looking it up reads files."""
    return metadata.version("prefetch")
