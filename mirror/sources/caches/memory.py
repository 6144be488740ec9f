"""What caches have said of paths, remembered from one run to the next for as long as Nix would.

That a cache has a path counts for as long as Nix's setting ``narinfo-cache-positive-ttl`` says,
that it lacks one for ``narinfo-cache-negative-ttl``. A sync that finds nothing new asks for no
narinfo then. Whose signature of a narinfo was found good is remembered with it: to verify thousands
of them again would take longer than all the rest.

It is an SQLite file in the user's cache directory, and not essential: if it cannot be read or
written, the caches are asked. Damaged values in it may be of any type.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mirror.formats.store_path import StorePath

FILE_NAME: Final = "narinfos-1.sqlite"
"""Another form of it would have another number."""

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS answers (
        cache TEXT NOT NULL, hash_part TEXT NOT NULL,
        narinfo BLOB, asked REAL NOT NULL, signer TEXT,
        PRIMARY KEY (cache, hash_part)
    ) WITHOUT ROWID
"""
_RECALL: Final = "SELECT narinfo, asked, signer FROM answers WHERE cache = ? AND hash_part = ?"
_NOTE: Final = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)"
_BATCH: Final = 2_000
_DAY: Final = 86_400
_LOCK_SECONDS: Final = 1.0
_UNREADABLE: Final = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises; its own words may have bytes of a damaged file in them, and are no text."""


class Remembered(NamedTuple):
    """An answer: the narinfo's bytes, None where the cache lacks the path; when it was given.

    ``asked`` is in seconds since 1970; ``signer`` is the public key whose signature was found good.
    """

    narinfo: bytes | None
    asked: float
    signer: str | None = None


def _remembered(narinfo: object, asked: object, signer: object) -> Remembered | None:
    """A row of the table; None where it has something that was never written there."""
    if (
        isinstance(narinfo, bytes | None)
        and isinstance(asked, float)
        and isinstance(signer, str | None)
    ):
        return Remembered(narinfo, asked, signer)
    return None


class Memory:
    """The answers of all caches; :meth:`open` gives it. For use by one thread."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        positive_seconds: float,
        negative_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._positive = positive_seconds
        self._negative = negative_seconds
        self._now = now
        self._unwritten: dict[tuple[str, str], Remembered] = {}
        self._is_empty = connection.execute("SELECT 1 FROM answers LIMIT 1").fetchone() is None
        """Whether the file was empty at first: then a first run need not look in it."""

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, directory: Path, *, positive_seconds: float, negative_seconds: float
    ) -> Iterator[Self | None]:
        """Open the file in the directory, made if it is missing; None where it cannot be."""
        memory = None
        with contextlib.suppress(OSError, *_UNREADABLE):
            directory.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                directory / FILE_NAME, timeout=_LOCK_SECONDS, isolation_level=None
            )
            # What a power failure takes from it is asked again.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_TABLE)
            memory = cls(
                connection, positive_seconds=positive_seconds, negative_seconds=negative_seconds
            )
        try:
            yield memory
        finally:
            if memory is not None:
                memory._close()

    def recall(self, cache: str, path: StorePath) -> Remembered | None:
        """What the cache said of the path, if that still counts."""
        found = self._unwritten.get((cache, path.hash_part))
        if found is None and not self._is_empty:
            with contextlib.suppress(*_UNREADABLE):
                row = self._connection.execute(_RECALL, (cache, path.hash_part)).fetchone()
                found = None if row is None else _remembered(*row)
        if found is None:
            return None
        age = self._now() - found.asked
        # What was asked in the future was asked by a clock that was wrong.
        return found if 0 <= age < self._lifetime(found) else None

    def note(self, cache: str, path: StorePath, narinfo: bytes | None) -> None:
        """Remember what the cache has just said."""
        self._write(cache, path, Remembered(narinfo, self._now()))

    def note_signer(self, cache: str, path: StorePath, signer: str) -> None:
        """Remember whose signature of the narinfo is good."""
        if (found := self.recall(cache, path)) is not None:
            self._write(cache, path, found._replace(signer=signer))

    def forget(self, cache: str, path: StorePath) -> None:
        """Forget an answer that turned out to be wrong."""
        self._write(cache, path, Remembered(None, -self._negative))

    def write(self) -> None:
        """Write what was noted; if that fails, it is not remembered."""
        rows = [(*key, *answer) for key, answer in self._unwritten.items()]
        self._unwritten.clear()
        self._is_empty = False
        with contextlib.suppress(*_UNREADABLE):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(_NOTE, rows)
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise

    def _write(self, cache: str, path: StorePath, answer: Remembered) -> None:
        self._unwritten[cache, path.hash_part] = answer
        if len(self._unwritten) >= _BATCH:
            self.write()

    def _lifetime(self, answer: Remembered) -> float:
        return self._negative if answer.narinfo is None else self._positive

    def _close(self) -> None:
        self.write()
        with contextlib.suppress(*_UNREADABLE):
            self._remove_old()
        self._connection.close()

    def _remove_old(self) -> None:
        """Once a day, remove what no longer counts; the day of it is the file's user version."""
        today = int(self._now() // _DAY)
        (last,) = self._connection.execute("PRAGMA user_version").fetchone()
        if last == today:
            return
        self._connection.execute(
            "DELETE FROM answers WHERE asked < ? - CASE WHEN narinfo IS NULL THEN ? ELSE ? END",
            (self._now(), self._negative, self._positive),
        )
        self._connection.execute(f"PRAGMA user_version = {today}")
