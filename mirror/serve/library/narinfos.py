"""The narinfos of a cache directory, as they are given.

Those that were asked for lately are kept in memory, each for as long as its file is the same: the
system is asked for that every time, so nothing is given that the directory does not have now.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.destinations.cache.layout import CACHE_INFO, NARINFO_SUFFIX, NARS, nar_name
from mirror.errors import FormatError
from mirror.serve.http.answers import Answer, text_answer
from mirror.serve.library.watching import has_settled
from mirror.system.plain_files import open_to_read

if TYPE_CHECKING:
    from pathlib import Path

    _State = tuple[int, int, int]

NARINFO_TYPE: Final = "text/x-nix-narinfo"

_LARGEST: Final = 1 << 20
_USUAL: Final = 1 << 13
"""Hardly any is longer: to make room for the largest at each reading takes longer than to read."""

_KEPT_BYTES: Final = 1 << 23
"""Of text that is kept: some 12,000 narinfos, which take about twice as much in memory."""

_URL: Final = re.compile(rb"^URL: (.+)$", re.MULTILINE)
_FILE_SIZE: Final = re.compile(rb"^FileSize: ([0-9]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class GivenNarinfo:
    """A narinfo as it is given, and its NAR's file below ``nar/``; None if it names none there.

    ``nar_size`` is that file's size in bytes, None where the narinfo does not say.
    """

    answer: Answer
    nar: str | None
    nar_size: int | None


class Narinfos:
    """The narinfos of a directory.

    They are read on the event loop, since a thread would cost more than reading them.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        self._kept: dict[str, tuple[_State, GivenNarinfo]] = {}
        self._kept_bytes = 0

    def find(self, hash_part: str) -> GivenNarinfo | None:
        """The narinfo of a path, if it is there now."""
        file = f"{self._directory}/{hash_part}{NARINFO_SUFFIX}"
        if (kept := self._kept.get(hash_part)) is not None:
            state, given = kept
            try:
                if _state(os.stat(file, follow_symlinks=False)) == state:  # noqa: PTH116 - often
                    return given
            except OSError:
                return None
        if (read := _read(file)) is None:
            return None
        data, state = read
        given = _given(data)
        # What changed just now may change again without a trace.
        if has_settled(state[0]):
            if self._kept_bytes > _KEPT_BYTES:
                self._kept.clear()
                self._kept_bytes = 0
            self._kept[hash_part] = (state, given)
            self._kept_bytes += len(data)
        return given


def read_narinfo(file: str) -> bytes | None:
    """A small plain file's content: None of anything else, which must not be given in part."""
    read = _read(file)
    return None if read is None else read[0]


def narinfo_answer(data: bytes) -> Answer:
    """The answer for a narinfo."""
    return text_answer(data, NARINFO_TYPE)


def named_file(narinfo: bytes) -> tuple[str, int | None]:
    """What the URL has after ``nar/``, and the file's size if the narinfo says it.

    It is looked for in the text: this is asked of each narinfo that is given, and at the start of
    every one that there is.

    Raises:
        FormatError: no file of ``nar/`` is named, or its size is none.

    """
    url, size = _URL.search(narinfo), _FILE_SIZE.search(narinfo)
    try:
        name = None if url is None else nar_name(url[1].decode())
        file_size = None if size is None else int(size[1])
    except ValueError as error:
        raise FormatError(f"its file is implausible: {error}") from error
    if name is None:
        raise FormatError(f"its URL is not a file of {NARS}/")
    return name, file_size


def _given(data: bytes) -> GivenNarinfo:
    try:
        return GivenNarinfo(narinfo_answer(data), *named_file(data))
    except FormatError:
        return GivenNarinfo(narinfo_answer(data), None, None)


def _read(file: str) -> tuple[bytes, _State] | None:
    try:
        descriptor = open_to_read(file, follows_links=False)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        state, is_for_all = _state(status), _is_for_all(file, status)
        data = os.read(descriptor, _USUAL)
        if len(data) == _USUAL:
            data += os.read(descriptor, _LARGEST + 1 - _USUAL)
    except OSError:
        return None
    else:
        return (data, state) if len(data) <= _LARGEST and is_for_all else None
    finally:
        os.close(descriptor)


def _is_for_all(file: str, status: os.stat_result) -> bool:
    """Whether everybody may read it: else it is its owner's alone (a private path's).

    Of a directory that its owner alone can read, the modes say nothing.
    """
    if status.st_mode & stat.S_IROTH:
        return True
    try:
        about = os.stat(f"{os.path.dirname(file)}/{CACHE_INFO}")  # noqa: PTH116, PTH120 - as text
    except OSError:
        return False
    return not about.st_mode & stat.S_IROTH


def _state(status: os.stat_result) -> _State:
    """A state that differs for another file, and after a change to the file: its time is first."""
    return (status.st_ctime_ns, status.st_ino, status.st_size)
