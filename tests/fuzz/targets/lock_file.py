"""flake.lock files, which come from whoever wrote the flake.

An input is two of them, one a line.
"""

from __future__ import annotations

from typing import Final

from fuzz.target import Target, plain
from mirror.planning.flake_lock import input_changes


def _check(data: bytes) -> None:
    before, found, after = data.partition(b"\n")
    changes = input_changes(before, after if found else None)
    assert [change.name for change in changes] == sorted(change.name for change in changes)
    for change in changes:
        assert str(change)


TARGET: Final = Target(
    name="lock-file",
    checking=plain(_check),
    refusals=(ValueError,),
    words=(
        *(b'"inputs"', b'"locked"', b'"nodes"', b'"root"', b'"lastModified":', b'"rev":', b"null"),
        *(b"[]", b"{}", b"1e30", b"99999999999999999", b"true", b"\\ud800", b"[" * 2000),
    ),
)
