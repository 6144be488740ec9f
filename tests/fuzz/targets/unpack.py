"""Archives within up to three layers of compression, told by their content; bombs among them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fuzz.target import Check, Target
from fuzz.targets.tar import LIMITS, check_tree
from mirror.errors import IntegrityError
from mirror.sources.archives.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def _checking() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        archive, scratch = Path(directory) / "archive", Path(directory) / "scratch"

        def check(data: bytes) -> None:
            # As in the tar target: new files, which wait for no disk.
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            archive.unlink(missing_ok=True)
            archive.write_bytes(data)
            try:
                check_tree(runner.run(unpack(archive, scratch, LIMITS)))
            finally:
                # What is stored of a bomb is hardly more than its limit.
                assert sum(file.stat().st_size for file in scratch.iterdir()) <= 4 * LIMITS.size

        yield check


TARGET: Final = Target(
    name="unpack",
    checking=_checking,
    refusals=(IntegrityError,),
    words=(
        *(b"\x1f\x8b\x08\0", b"\xfd7zXZ\0", b"BZh9", b"\x28\xb5\x2f\xfd", b"\x5d\0\0\x80\0"),
        *(b"PK\3\4", b"PK\5\6", b"ustar", bytes(4), b"\xff" * 8),
    ),
    executions=300,
)
