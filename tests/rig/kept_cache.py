"""A cache directory that a sync left, which losses befall and which is mended again.

To copy a cache of thousands of files for each loss takes longer than all that is asked of it.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.formats.narinfo import parse_narinfo
from rig.losses import KINDS, Loss

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path
    from random import Random

    from mirror.formats.narinfo import NarInfo
    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCache:
    """The directory, with its narinfos as they were read when all of it was whole."""

    directory: Path
    narinfos: Mapping[StorePath, NarInfo]

    @classmethod
    def read(cls, directory: Path) -> KeptCache:
        """Read all narinfos."""
        entries = (parse_narinfo(file.read_bytes()) for file in directory.glob("*.narinfo"))
        return cls(directory=directory, narinfos={each.info.path: each for each in entries})

    def files(self, path: StorePath) -> tuple[str, str]:
        """The names of a path's narinfo and of its NAR, which several paths can have in common."""
        return f"{path.hash_part}.narinfo", self.narinfos[path].url

    def befallen(self, losses: Collection[Loss]) -> list[StorePath]:
        """The paths that the losses are of."""
        files = {each.file for each in losses}
        return sorted(path for path in self.narinfos if not files.isdisjoint(self.files(path)))

    def draw(self, random: Random, kinds: Sequence[Sequence[StorePath]]) -> list[Loss]:
        """Draw a loss, or a few; each kind of path is as likely, and so are narinfo and NAR."""
        losses = {}
        for _ in range(random.choice((1, 1, 1, 1, 2, 5))):
            file = random.choice(self.files(random.choice(random.choice(kinds))))
            losses[file] = Loss(random.choice(KINDS), file, random.random(), random.randrange(8))
        return list(losses.values())

    @contextlib.contextmanager
    def lost(self, losses: Sequence[Loss], *, aside: Path) -> Iterator[None]:
        """Inflict losses; afterwards the files are put back from the directory ``aside``."""
        aside.mkdir()
        for number, loss in enumerate(losses):
            shutil.copy2(self.directory / loss.file, aside / str(number))
        try:
            for loss in losses:
                loss.inflict(self.directory)
            yield
        finally:
            for number, loss in enumerate(losses):
                (aside / str(number)).replace(self.directory / loss.file)
            aside.rmdir()
