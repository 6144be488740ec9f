"""What evaluations came to, remembered from one run to the next in an SQLite file.

A row is what Nix answered, under a key that says what it was asked, and the store paths that the
evaluation touched; whether those are still there and the same is for the reader to see
(:mod:`mirror.nix.evaluation.remembering`).

The file is in the user's cache directory, and not essential: what cannot be read or written is
evaluated again. Several processes may use it at once. One that is damaged is removed and made anew;
a checksum in each row tells of damage that SQLite does not see.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.errors import FormatError
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

FILE_NAME: Final = "evaluations-1.sqlite"
"""Another form of it would have another number."""

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS evaluations (
        key TEXT NOT NULL PRIMARY KEY, answer BLOB NOT NULL, checksum TEXT NOT NULL,
        used REAL NOT NULL
    ) WITHOUT ROWID
"""
_RECALL: Final = "SELECT answer, checksum FROM evaluations WHERE key = ?"
_USE: Final = "UPDATE evaluations SET used = ? WHERE key = ?"
_NOTE: Final = "INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?)"
_FORGET_OLD: Final = "DELETE FROM evaluations WHERE used < ? OR used > ?"
_FORGET_MANY: Final = """
    DELETE FROM evaluations WHERE key IN (
        SELECT key FROM evaluations ORDER BY used DESC LIMIT -1 OFFSET ?
    )
"""
_MOST: Final = 5_000
"""How many rows are kept: an edit of a host is one. Each has some tens of kilobytes."""
_DAY: Final = 86_400
_LONGEST_UNUSED: Final = 60 * _DAY
_LOCK_SECONDS: Final = 5.0
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNREADABLE: Final = (sqlite3.Error, UnicodeDecodeError, OSError)
"""What SQLite raises; its own words may have bytes of a damaged file in them, and are no text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How an evaluator ended, and what it touched.

    ``paths`` are all store paths that the answer stands on, with the NAR hash of each, None for
    those that the evaluation asked for and that were not there. ``touched`` (no derivations) and
    ``built`` are as :class:`~mirror.nix.evaluation.recording.Touched` has them.
    """

    returncode: int
    stdout: str
    stderr: str
    paths: Mapping[StorePath, str | None]
    touched: frozenset[StorePath]
    built: frozenset[StorePath]

    def encoded(self) -> bytes:
        """Write it as a row has it."""
        return json.dumps(
            {
                "returncode": self.returncode,
                "stdout": self.stdout,
                "stderr": self.stderr,
                "paths": self.paths,
                "touched": sorted(self.touched),
                "built": sorted(self.built),
            },
            sort_keys=True,
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> Answer:
        """Read what :meth:`encoded` wrote.

        Raises:
            ValueError, KeyError, TypeError, FormatError: that is not what it is.

        """
        document: dict[str, Any] = json.loads(data)
        return cls(
            returncode=document["returncode"],
            stdout=document["stdout"],
            stderr=document["stderr"],
            paths={StorePath.parse(path): known for path, known in document["paths"].items()},
            touched=frozenset(map(StorePath.parse, document["touched"])),
            built=frozenset(map(StorePath.parse, document["built"])),
        )


def recall(
    directory: Path, keys: Iterable[str], *, now: Callable[[], float] = time.time
) -> dict[str, Answer]:
    """The answers that there are under these keys. It blocks."""
    found: dict[str, Answer] = {}
    with _opened(directory) as connection:
        if connection is None:
            return found
        for key in keys:
            row = connection.execute(_RECALL, (key,)).fetchone()
            answer = None if row is None else _read(key, *row)
            if answer is not None:
                found[key] = answer
        # That they are used matters only for which are deleted first: no reader waits for it.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.executemany(_USE, [(now(), key) for key in found])
    return found


def remember(
    directory: Path, answers: Mapping[str, Answer], *, now: Callable[[], float] = time.time
) -> None:
    """Write answers under their keys, and delete what has not been used for long. It blocks."""
    rows = []
    for key, answer in answers.items():
        data = answer.encoded()
        rows.append((key, data, _checksum(key, data), now()))
    with _opened(directory) as connection:
        if connection is None:
            return
        connection.executemany(_NOTE, rows)
        # What was used in the future was used by a clock that was wrong.
        connection.execute(_FORGET_OLD, (now() - _LONGEST_UNUSED, now() + _DAY))
        connection.execute(_FORGET_MANY, (_MOST,))


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[sqlite3.Connection | None]:
    """The file within a transaction, made if it is missing; None where it cannot be had.

    What goes wrong in between is nobody's error: then nothing was written.
    """
    connection: sqlite3.Connection | None = None
    with contextlib.suppress(*_UNREADABLE):
        connection = _connect(directory)
    if connection is None:
        yield None
        return
    with contextlib.closing(connection):
        try:
            with connection:
                yield connection
        except _UNREADABLE as error:
            _remove_damaged(directory, error)


def _connect(directory: Path) -> sqlite3.Connection:
    directory.mkdir(parents=True, exist_ok=True)
    for attempt in range(2):
        connection = sqlite3.connect(directory / FILE_NAME, timeout=_LOCK_SECONDS)
        try:
            # What a power failure takes from it is evaluated again.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_TABLE)
        except _UNREADABLE as error:
            connection.close()
            if attempt or not _remove_damaged(directory, error):
                raise
        else:
            break
    return connection


def _remove_damaged(directory: Path, error: BaseException) -> bool:
    """Remove the file if the error says that it is damaged; whether it did."""
    code = getattr(error, "sqlite_errorcode", None)
    is_damaged = isinstance(error, UnicodeDecodeError) or (code or 0) & 0xFF in _DAMAGED
    if is_damaged:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                (directory / f"{FILE_NAME}{suffix}").unlink()
    return is_damaged


def _read(key: str, answer: object, checksum: object) -> Answer | None:
    """A row of the table; None where it has something that was never written there."""
    if not isinstance(answer, bytes) or checksum != _checksum(key, answer):
        return None
    try:
        return Answer.decode(answer)
    except (ValueError, KeyError, TypeError, AttributeError, FormatError):
        return None


def _checksum(key: str, answer: bytes) -> str:
    return hashlib.sha256(key.encode() + b"\0" + answer).hexdigest()
