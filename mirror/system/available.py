"""How much memory this process and those that it starts may still take.

That is what the machine has left, or what the control groups (of a container, of a systemd unit)
leave to it, if that is less.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_AVAILABLE: Final = re.compile(r"^MemAvailable:\s*(\d+) kB$", re.MULTILINE)
_CACHED: Final = re.compile(r"^(?:total_)?inactive_file (\d+)$", re.MULTILINE)
_FILES: Final = (
    ("memory.max", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""The limit and what is used of it, of the two versions of control groups."""


def available_memory(
    processes: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """How many bytes there are; None where the system does not tell. It blocks, not for long."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        if said := _AVAILABLE.search((processes / "meminfo").read_text()):
            found.append(int(said[1]) * 1024)
        found += _left_to(_groups((processes / "self/cgroup").read_text(), groups))
    return min(found, default=None)


def _groups(text: str, groups: Path) -> Iterator[Path]:
    """Each group that this process is in, and those around it."""
    for line in text.splitlines():
        _, _, place = line.partition(":")
        controllers, _, name = place.partition(":")
        top = {"": groups, "memory": groups / "memory"}.get(controllers)
        if top is not None:
            inner = PurePosixPath(name.lstrip("/"))
            yield from (top / each for each in (inner, *inner.parents))


def _left_to(groups: Iterator[Path]) -> Iterator[int]:
    for group in groups:
        for limit, used in _FILES:
            # A group without a limit says "max"; the outermost one has no such file.
            with contextlib.suppress(OSError, ValueError):
                most = int((group / limit).read_text())
                cached = _CACHED.search((group / "memory.stat").read_text())
                taken = int((group / used).read_text()) - (int(cached[1]) if cached else 0)
                yield max(0, most - taken)
