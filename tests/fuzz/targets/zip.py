"""zip archives: as tar archives are."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fuzz.target import Check, Target
from fuzz.targets.tar import LIMITS, check_tree
from mirror.errors import IntegrityError
from mirror.sources.archives.zip import read_zip

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def _checking() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as directory:
        archive, contents = Path(directory) / "archive", Path(directory) / "contents"

        def check(data: bytes) -> None:
            # As in the tar target: new files, which wait for no disk.
            archive.unlink(missing_ok=True)
            contents.unlink(missing_ok=True)
            archive.write_bytes(data)
            check_tree(read_zip(archive, contents, LIMITS))

        yield check


TARGET: Final = Target(
    name="zip",
    checking=_checking,
    refusals=(IntegrityError,),
    words=(
        *(b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"../", b"/", b"\\", b"\x0c\0"),
        *(
            b"\x0e\0",
            b"\1\0",
            b"\6\0",
            b"\t\0",
            b"\x5d\0",
            b"\x08\0",
            b"\0\0",
            b"\xff\xff\xff\xff",
            b"\x01\x99",
            b"\x75\x70",
        ),
    ),
    executions=1_500,
)
