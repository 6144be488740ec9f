"""Power failures, simulated: what a disk may hold of a directory, at each step of a real run.

A :class:`Recorder`, in the process that runs the program, looks at the whole directory before each
step (:mod:`rig.killed` says what one is), and at its end. From that a :class:`History` knows what
was *durable* at each moment: a file's content as of its last fsync, a directory's names as of its
last fsync, and all that was there before the run. It makes the trees that a disk may hold when the
power goes then, by three models:

- *strict*: what is durable, and nothing else. A name that was given or taken since its directory
  was synced is as it was.
- *names ahead*: all names are as the run had left them, and of each file what was synced of it. As
  each step is looked at, this is also what a journal leaves that lasts up to some step.
- *mixed*: of the names that are not durable some are as the run left them and some as they were, in
  no order, and so are contents. No file system in use is known to be that bad.

Each inode is held open by the recorder, so that no later file is given the same number. The modes
of directories are no part of it.
"""

from __future__ import annotations

import os
import pickle
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

Names = Mapping[str, int]
"""A directory's names, each with its inode."""

Tree = Mapping[str, "File | None"]
"""A tree by the paths in it; directories are None."""

_ATTEMPTS: Final = 100


@dataclass(frozen=True, slots=True)
class File:
    """A file's content, and its time of modification in nanoseconds."""

    content: bytes
    modified: int


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is before a step; ``synced`` is the inode that the step syncs, if it does."""

    step: str
    synced: int | None
    directories: Mapping[int, Names]
    files: Mapping[int, File]


class Recorder:
    """Looks at a directory, in the process that changes it, perhaps in several threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._root = directory.stat().st_ino
        self._moments: list[Moment] = []
        self._held: dict[int, int] = {}
        self._contents: dict[bytes, bytes] = {}
        self._turn = threading.RLock()

    def look(self, step: str, synced: int | None = None) -> None:
        """Note what there is before a step."""
        with self._turn:
            for _ in range(_ATTEMPTS):
                directories: dict[int, Names] = {}
                files: dict[int, File] = {}
                try:
                    self._look_at(self._directory, directories, files)
                except (FileNotFoundError, NotADirectoryError):
                    continue  # another thread removed it just now
                self._moments.append(Moment(step, synced, directories, files))
                return
            raise AssertionError("the directory does not keep still")

    def write(self, file: Path) -> None:
        """Leave what was noted to :meth:`History.read`."""
        file.write_bytes(pickle.dumps(History(self._root, self._moments)))

    def _look_at(
        self, directory: Path, directories: dict[int, Names], files: dict[int, File]
    ) -> None:
        names: dict[str, int] = {}
        for entry in os.scandir(directory):
            status = entry.stat(follow_symlinks=False)
            self._hold(entry.path, status.st_ino)
            names[entry.name] = status.st_ino
            if entry.is_dir(follow_symlinks=False):
                self._look_at(Path(entry.path), directories, files)
            else:
                assert stat.S_ISREG(status.st_mode), entry.path
                content = Path(entry.path).read_bytes()
                content = self._contents.setdefault(content, content)
                files[status.st_ino] = File(content, status.st_mtime_ns)
        directories[directory.stat().st_ino] = names

    def _hold(self, path: str, number: int) -> None:
        if number not in self._held:
            self._held[number] = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)


@dataclass(frozen=True, slots=True)
class History:
    """A run's moments, of which the last is its end; ``root`` is the directory's inode."""

    root: int
    moments: list[Moment]

    @classmethod
    def read(cls, file: Path) -> History:
        found = pickle.loads(file.read_bytes())
        assert isinstance(found, cls)
        return found

    def disks(self) -> Iterator[Disk]:
        """The disk at each moment."""
        first = self.moments[0]
        names, files = dict(first.directories), dict(first.files)
        are_directories = {inode for each in self.moments for inode in each.directories}
        for moment in self.moments:
            yield Disk(self.root, moment, are_directories, dict(names), dict(files))
            # It is durable only once it is done: at the next moment of the same thread.
            synced = moment.synced
            if synced is None:
                continue
            if synced in moment.directories:
                names[synced] = moment.directories[synced]
            elif synced in moment.files:
                files[synced] = moment.files[synced]


@dataclass(frozen=True, slots=True)
class Disk:
    """What is there at a moment, and what of it is durable."""

    root: int
    moment: Moment
    are_directories: set[int]
    durable_names: Mapping[int, Names]
    durable_files: Mapping[int, File]

    def strict(self) -> Tree:
        return self._tree(self._as_synced, self._content_as_synced)

    def names_ahead(self) -> Tree:
        return self._tree(self._as_left, self._content_as_synced)

    def mixed(self, drawn: Random) -> Tree:
        def names(directory: int) -> Names:
            left, synced = self._as_left(directory), self._as_synced(directory)
            found: dict[str, int] = {}
            for name in sorted(left.keys() | synced.keys()):
                inode = drawn.choice((left, synced)).get(name)
                if inode is not None:
                    found[name] = inode
            return found

        def content(file: int) -> File:
            synced = self._content_as_synced(file)
            return drawn.choice((synced, self.moment.files.get(file, synced)))

        return self._tree(names, content)

    def _as_left(self, directory: int) -> Names:
        return self.moment.directories.get(directory, {})

    def _as_synced(self, directory: int) -> Names:
        return self.durable_names.get(directory, {})

    def _content_as_synced(self, file: int) -> File:
        return self.durable_files.get(file, File(b"", 0))

    def _tree(self, names: Callable[[int], Names], content: Callable[[int], File]) -> Tree:
        found: dict[str, File | None] = {}

        def add(directory: int, prefix: str) -> None:
            for name, inode in names(directory).items():
                if inode in self.are_directories:
                    found[f"{prefix}{name}"] = None
                    add(inode, f"{prefix}{name}/")
                else:
                    found[f"{prefix}{name}"] = content(inode)

        add(self.root, "")
        return found


def write_tree(tree: Tree, directory: Path) -> None:
    """Make a tree in a directory that is empty."""
    for path, file in tree.items():
        place = directory / path
        if file is None:
            place.mkdir()
        else:
            place.write_bytes(file.content)
            os.utime(place, ns=(file.modified, file.modified))
