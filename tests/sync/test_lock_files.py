"""Lock files that are put back as they were."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mirror.sync.refresh import lock_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "flake.lock"


def test_what_is_put_back_keeps_its_mode(file: Path) -> None:
    file.write_bytes(b"new")
    file.chmod(0o640)
    lock_files.put_back(file, b"old")
    assert lock_files.read(file) == b"old"
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
def test_what_is_put_back_stays_its_owners(file: Path) -> None:
    file.write_bytes(b"new")
    os.chown(file, 1234, 5678)
    lock_files.put_back(file, b"old")
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 5678)


def test_a_link_stays_a_link(file: Path) -> None:
    place = file.parent / "elsewhere" / "lock"
    place.parent.mkdir()
    place.write_bytes(b"new")
    file.symlink_to(place)
    lock_files.put_back(file, b"old")
    assert file.is_symlink()
    assert place.read_bytes() == b"old"


def test_where_there_was_none_there_is_none_again(file: Path) -> None:
    file.write_bytes(b"new")
    lock_files.put_back(file, None)
    assert lock_files.read(file) is None
    lock_files.put_back(file, None)


def test_who_has_it_open_reads_all_of_one(file: Path) -> None:
    file.write_bytes(b"all of the new one")
    with file.open("rb") as opened:
        lock_files.put_back(file, b"the old")
        assert opened.read() == b"all of the new one"
