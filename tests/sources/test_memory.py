"""What caches said is remembered as long as it counts, and its loss costs requests alone."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from typing import TYPE_CHECKING

import pytest

from mirror.formats.store_path import StorePath
from mirror.sources.caches.memory import FILE_NAME, Memory, Remembered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CACHE, OTHER = "https://one.example", "https://other.example"
PATH = StorePath.from_base_name("0" * 32 + "-path")
ABSENT = StorePath.from_base_name("1" * 32 + "-absent")


@contextlib.contextmanager
def opened(directory: Path, *, at: float = 1000.0) -> Iterator[Memory]:
    """A memory whose clock stands still."""
    with Memory.open(directory, positive_seconds=100, negative_seconds=10) as memory:
        assert memory is not None
        memory._now = lambda: at
        yield memory


def test_what_was_said_is_known_to_the_next_run_for_its_time(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.note(CACHE, PATH, b"narinfo")
        memory.note(CACHE, ABSENT, None)
        assert memory.recall(CACHE, PATH) == Remembered(b"narinfo", 1000.0)
        assert memory.recall(OTHER, PATH) is None
    with opened(tmp_path, at=1009) as memory:
        assert memory.recall(CACHE, PATH) == Remembered(b"narinfo", 1000.0)
        assert memory.recall(CACHE, ABSENT) == Remembered(None, 1000.0)
    with opened(tmp_path, at=1010) as memory:
        assert memory.recall(CACHE, PATH) is not None
        assert memory.recall(CACHE, ABSENT) is None
    with opened(tmp_path, at=1100) as memory:
        assert memory.recall(CACHE, PATH) is None


def test_what_a_clock_of_the_future_noted_does_not_count(tmp_path: Path) -> None:
    with opened(tmp_path, at=2000) as memory:
        memory.note(CACHE, PATH, b"narinfo")
    with opened(tmp_path, at=1000) as memory:
        assert memory.recall(CACHE, PATH) is None


def test_a_signer_is_remembered_with_its_narinfo_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.note_signer(CACHE, PATH, "key:abc")
        assert memory.recall(CACHE, PATH) is None
        memory.note(CACHE, PATH, b"narinfo")
        memory.note_signer(CACHE, PATH, "key:abc")
    with opened(tmp_path) as memory:
        assert memory.recall(CACHE, PATH) == Remembered(b"narinfo", 1000.0, "key:abc")
        memory.note(CACHE, PATH, b"another")
        assert memory.recall(CACHE, PATH) == Remembered(b"another", 1000.0)


def test_what_is_forgotten_stays_so(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.note(CACHE, PATH, b"narinfo")
        memory.forget(CACHE, PATH)
        assert memory.recall(CACHE, PATH) is None
    with opened(tmp_path) as memory:
        assert memory.recall(CACHE, PATH) is None


def test_what_no_longer_counts_is_removed_once_a_day(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.note(CACHE, PATH, b"narinfo")
    with opened(tmp_path, at=100_000):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        assert file.execute("SELECT count(*) FROM answers").fetchone() == (0,)


def test_a_file_that_is_none_of_sqlite_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    with Memory.open(tmp_path, positive_seconds=1, negative_seconds=1) as memory:
        assert memory is None


@pytest.mark.parametrize(
    "damage", ["asked = 'soon'", "narinfo = 'text'", "narinfo = 7", "signer = x'ff'"]
)
def test_what_has_another_type_than_was_written_is_not_known(tmp_path: Path, damage: str) -> None:
    with opened(tmp_path) as memory:
        memory.note(CACHE, PATH, b"narinfo")
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute(f"UPDATE answers SET {damage}")
    connection.commit()
    connection.close()
    with opened(tmp_path) as memory:
        assert memory.recall(CACHE, PATH) is None


def test_a_damaged_file_stops_nobody(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.note(CACHE, PATH, b"narinfo")
    whole = (tmp_path / FILE_NAME).read_bytes()
    chance = random.Random(1)
    for _ in range(50):
        damaged = bytearray(whole)
        for position in chance.sample(range(len(whole)), 40):
            damaged[position] = chance.randrange(256)
        (tmp_path / FILE_NAME).write_bytes(damaged)
        with Memory.open(tmp_path, positive_seconds=100, negative_seconds=10) as memory:
            if memory is not None:
                memory.recall(CACHE, PATH)
                memory.note(CACHE, PATH, None)


def test_a_directory_that_cannot_be_made_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Memory.open(tmp_path / "file/cache", positive_seconds=1, negative_seconds=1) as memory:
        assert memory is None


def test_a_file_that_another_run_has_locked_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.sources.caches.memory._LOCK_SECONDS", 0.01)
    with opened(tmp_path) as memory:
        memory.note(CACHE, PATH, b"narinfo")
    locked = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    with contextlib.closing(locked):
        locked.execute("BEGIN EXCLUSIVE")
        with Memory.open(tmp_path, positive_seconds=1, negative_seconds=1) as other:
            if other is not None:
                other.note(CACHE, ABSENT, b"lost")
                other.write()
    with opened(tmp_path) as memory:
        assert memory.recall(CACHE, PATH) is not None
        assert memory.recall(CACHE, ABSENT) is None
