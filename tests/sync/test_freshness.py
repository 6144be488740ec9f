"""Lock files as receipts name them, which may name anything."""

from __future__ import annotations

import os
from pathlib import Path

from mirror.formats.hashes import Hash
from mirror.sync.kept.freshness import lock_hash


def test_the_hash_is_that_of_a_plain_file_alone(tmp_path: Path) -> None:
    file, pipe = tmp_path / "flake.lock", tmp_path / "pipe"
    file.write_bytes(b"{}")
    os.mkfifo(pipe)
    assert lock_hash(file) == Hash.of(b"{}").sri
    for other in (None, tmp_path / "none", tmp_path, pipe, Path("/dev/zero"), Path("a\0b")):
        assert lock_hash(other) is None
