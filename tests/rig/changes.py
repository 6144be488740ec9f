"""Whatever changes a cache directory, as runs that a test can kill or take the power from.

Each :class:`Change` is a command and the ``disk`` that it starts from, which has the cache in a
directory of its own: what is missing on the way to it is made, too. :meth:`Change.look` is what has
to hold wherever the run ended; :func:`content` what is compared once the next one has gone on.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mirror.destinations import CacheDirectory, RunRecord
from mirror.destinations.cache.checksums import read_checksums
from mirror.destinations.cache.layout import CHECKSUMS, CONTENTS, RETIRED
from mirror.destinations.records.generation import MANIFEST
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo
from rig.killed import Launcher
from rig.made_paths import chain, generation, put, text
from rig.running import instantiate, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mirror.formats.narinfo import NarInfo
    from mirror.nix.command import Nix
    from rig.made_paths import Made
    from rig.shell import Shell

CACHE: Final = "disk/srv/cache"
_OF_THE_RUN: Final = re.compile(
    rb'"(created|finished|digest|state)": "[^"]*"|"(duration_seconds|received_bytes)": [0-9]+'
)
"""What two runs that do the same write differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A run that changes a cache directory, in the directory of a user.

    ``manifests`` are there whatever happens; ``also`` looks at what else has to hold of a cache,
    given what it was before. ``is_damaged`` at the start: then what readers see need not be whole.
    ``code`` is the exit code of a run that is not disturbed.
    """

    shell: Shell
    command: list[str]
    manifests: frozenset[str] = frozenset()
    also: Callable[[Path, Path], None] | None = None
    is_damaged: bool = False
    code: int = 0

    @property
    def disk(self) -> Path:
        return self.shell.directory / "disk"

    @property
    def before(self) -> Path:
        """The disk as it was."""
        return self.shell.directory / "before"

    @property
    def cache(self) -> Path:
        return self.shell.directory / CACHE

    def begin(self) -> None:
        """Put the disk back to what it was."""
        shutil.rmtree(self.disk)
        shutil.copytree(self.before, self.disk)
        # It is of NARs of another directory, unless this one has got that one's inode by chance:
        # then it would be believed, and a run have fewer steps than another.
        (self.cache / CONTENTS).unlink(missing_ok=True)

    def start(self) -> AbstractContextManager[Launcher]:
        return Launcher.start(
            self.disk, cwd=self.shell.directory, environment=self.shell.environment()
        )

    def look(self, *, in_order: bool = True) -> None:
        """See that what is published is whole, and what is kept is there.

        Not ``in_order``: on a disk that may have lost a change before one that it kept, readers may
        see a path that lacks something, unless a generation keeps it.
        """
        for manifest in self.manifests:
            assert (self.cache / manifest).exists(), manifest
        if not self.is_damaged:
            look_at_kept(self.cache)
            look_at_record(self.cache)
            if in_order:
                look_at_published(self.cache)
        if self.also is not None:
            self.also(self.cache, self.before / "srv/cache")


async def first_sync(shell: Shell) -> Change:
    change = _sync(shell, "curl", "runtime")
    (shell.directory / "disk").mkdir()
    return _from_here(change)


async def second_sync(shell: Shell) -> Change:
    """One that makes paths, and so signs, over a generation that stays."""
    first = _sync(shell, "curl", "runtime")
    shell.run([*shell.command, *first.command])

    def also(cache: Path, before: Path) -> None:
        assert published(before).items() <= published(cache).items()

    return _from_here(
        _sync(shell, "curl", "rebuild", also=also, manifests={"generations/it/1.json"})
    )


async def signing(shell: Shell) -> Change:
    await _signed_once(shell)
    command = ["sign", "--to", CACHE, "--signing-key", "secret-2", "--all"]
    return _from_here(Change(shell=shell, command=command, manifests=_FILLED, also=_all_are_signed))


async def old_signatures(shell: Shell) -> Change:
    await _signed_once(shell)
    words = [*shell.command, "sign", "--to", CACHE, "--signing-key", "secret-2", "--all"]
    shell.run(words)
    command = ["prune", "--to", CACHE, "--keep", "9", "--old-signatures"]
    return _from_here(Change(shell=shell, command=command, manifests=_FILLED, also=_all_are_signed))


async def prune(shell: Shell) -> Change:
    await fill(shell.directory / CACHE)
    (shell.directory / "hosts.txt").write_text("pi = .#pi\n")
    command = ["prune", "hosts.txt", "--to", CACHE, "--keep", "1", "--removed"]
    return _from_here(
        Change(shell=shell, command=command, manifests=frozenset({"generations/pi/3.json"}))
    )


async def repair(shell: Shell) -> Change:
    """All that is damaged is had again."""
    return await _repair(shell, cache=None, code=0)


async def setting_aside(shell: Shell) -> Change:
    """Nobody has any more what is damaged."""
    (shell.directory / "empty").mkdir()
    return await _repair(shell, cache=f"file://{shell.directory}/empty", code=1)


async def _repair(shell: Shell, *, cache: str | None, code: int) -> Change:
    """Of a NAR, a narinfo, ``nix-cache-info`` and the record."""
    place = shell.directory / CACHE
    shell.run([*shell.command, *_sync(shell, "hello", "runtime").command])
    good = files(place)
    entries = {file: parse_narinfo(file.read_bytes()) for file in sorted(place.glob("*.narinfo"))}
    signed = [
        (file, each)
        for file, each in entries.items()
        if each.info.signatures and not each.info.signatures[0].startswith("mirror-1:")
    ]
    for name in (signed[0][1].url, signed[1][0].name, "nix-cache-info", CHECKSUMS):
        flip(place / name)

    def also(cache: Path, before: Path) -> None:
        was, now = files(before), files(cache)
        for name in good.keys() - {".prefetch/lock", CHECKSUMS, CONTENTS}:
            is_set_aside = code != 0 and name not in now
            assert is_set_aside or now[name] in {was[name], good[name]}, name

    command = shell.arguments("verify", CACHE, "--repair", cache=cache)[len(shell.command) :]
    manifests = frozenset({"generations/it/1.json"})
    return _from_here(
        Change(
            shell=shell,
            command=command,
            manifests=manifests,
            also=also,
            is_damaged=True,
            code=code,
        )
    )


CHANGES: Final[Mapping[str, Callable[[Shell], Awaitable[Change]]]] = {
    each.__name__: each
    for each in (first_sync, second_sync, signing, old_signatures, prune, repair, setting_aside)
}

_FILLED: Final = frozenset(
    {*(f"generations/pi/{number}.json" for number in (1, 2, 3)), "generations/gone/1.json"}
)


def _from_here(change: Change) -> Change:
    """Have a change start from what there is now."""
    shutil.copytree(change.disk, change.before)
    return change


def _sync(
    shell: Shell,
    package: str,
    level: str,
    *,
    also: Callable[[Path, Path], None] | None = None,
    manifests: set[str] | None = None,
) -> Change:
    """A sync of one target that takes no evaluating: each run is to be short."""
    write_list(shell, package, level)
    if not (shell.directory / "secret").exists():
        shell.run([*shell.command, "key", "generate", "mirror-1", "secret"])
    words = ("sync", "hosts.txt", "--to", CACHE, "--jobs", "1", "--signing-key", "secret")
    return Change(
        shell=shell,
        command=shell.arguments(*words)[len(shell.command) :],
        also=also,
        manifests=frozenset(manifests or ()),
    )


def write_list(shell: Shell, package: str, level: str) -> None:
    """A list of one target, by its derivation."""
    attribute = f"packages.x86_64-linux.{package}"
    derivation = instantiate(
        shell.nix, shell.upstream.distribution, attribute, store=shell.evaluation
    )
    shell.write_list(f"it = {derivation.partition('!')[0]} level={level}")


async def _signed_once(shell: Shell) -> None:
    await fill(shell.directory / CACHE)
    for number in (1, 2):
        shell.run([*shell.command, "key", "generate", f"mirror-{number}", f"secret-{number}"])
    shell.run([*shell.command, "sign", "--to", CACHE, "--signing-key", "secret-1"])


def _all_are_signed(cache: Path, before: Path) -> None:
    assert narinfos(cache).keys() == narinfos(before).keys()
    assert all(each.info.signatures for each in narinfos(cache).values())


async def fill(cache: Path) -> list[Made]:
    """Four generations of two targets, and what else a prune removes; what one of them needs."""
    base, first, second, gone = chain(2, "base"), chain(3, "one"), chain(2, "two"), chain(2, "gone")
    shared = [text("shared-1", content=b"same"), text("shared-2", content=b"same")]
    newest = [*base, text("newest", base[-1]), shared[0]]
    async with CacheDirectory.open(cache) as destination:
        for made in [*base, *first, *second, *gone, *shared, newest[2]]:
            await put(destination, made)
        await destination.keep(generation([*base, *first, shared[1]]))
        await destination.keep(generation([*base, *second, *shared], number=2))
        await destination.keep(generation(newest, number=3))
        await destination.keep(generation(gone, target="gone"))
        for target in ("gone", "pi"):
            await destination.record_run(
                RunRecord(
                    target=target,
                    finished=datetime(2026, 11, 24, tzinfo=UTC),
                    number=1,
                    is_complete=True,
                )
            )
    for file in cache.glob("*.narinfo"):
        os.utime(file, (0, 0))
    (cache / "nar" / f"{'1' * 52}.nar.zst").write_bytes(b"a NAR whose narinfo never came")
    (cache / "generations/emptied").mkdir()
    for name in ("receipts/gone.json", "receipts/tmpabcd1234"):
        (cache / name).parent.mkdir(exist_ok=True)
        (cache / name).touch()
    os.utime(cache / "receipts/tmpabcd1234", (0, 0))
    return newest


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def narinfos(directory: Path) -> dict[str, NarInfo]:
    found = (parse_narinfo(path.read_bytes()) for path in directory.glob("*.narinfo"))
    return {entry.info.path: entry for entry in found}


def look_at_published(cache: Path) -> None:
    """See that every reader finds whole closures, and that what is kept is complete."""
    published, retired = narinfos(cache), narinfos(cache / RETIRED)
    for entries, among in ((published, published), (retired, retired | published)):
        for entry in entries.values():
            assert Hash.of((cache / entry.url).read_bytes()) == entry.file_hash
            assert set(entry.info.references) <= among.keys()
    look_at_kept(cache)


def look_at_kept(cache: Path) -> None:
    """See that every generation has all its paths, whole."""
    there = narinfos(cache)
    for file in cache.glob("generations/*/*.json"):
        for path in MANIFEST.parse(file.read_bytes()).paths:
            entry = there[path]
            assert Hash.of((cache / entry.url).read_bytes()) == entry.file_hash
            assert set(entry.info.references) <= there.keys()


def look_at_record(cache: Path) -> None:
    """See that no line of the record is wrong."""
    recorded = read_checksums(cache)
    assert recorded.problem is None
    for name in recorded.lines:
        if (cache / name).exists():
            assert recorded.knows(name, (cache / name).read_bytes()), name


def ask_nix(nix: Nix, cache: Path) -> None:
    """Have Nix read every closure and verify every NAR."""
    store = ("--store", f"file://{cache}")
    listed = run(nix, "nix", "path-info", *store, "--all", "--recursive").stdout.split()
    assert set(listed) == narinfos(cache).keys()
    run(nix, "nix", "store", "verify", *store, "--all", "--no-trust")
    for made in ("log", "realisations"):  # by Nix, in every cache that it opens
        (cache / made).rmdir()


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def published(cache: Path) -> dict[str, bytes]:
    found = [*cache.glob("*.narinfo"), *cache.glob("nar/*"), *cache.glob("public-keys")]
    return {str(file.relative_to(cache)): file.read_bytes() for file in found}


def content(cache: Path) -> dict[str, bytes | None]:
    """All there is, as two runs that do the same leave it.

    The lock may say who held it, and the record have lines for what was to be written, until the
    next generation is kept. What was to be a run record is there for an hour. What the NARs had
    is recorded of these very files, and is an aid only.
    """
    found: dict[str, bytes | None] = {}
    for path in cache.rglob("*"):
        name = str(path.relative_to(cache))
        left_out = {".prefetch/lock", CHECKSUMS, CONTENTS}
        if name not in left_out and not name.startswith("runs/tmp"):
            found[name] = _OF_THE_RUN.sub(b"", path.read_bytes()) if path.is_file() else None
    return found


def state(disk: Path, *, since: float) -> frozenset[tuple[object, ...]]:
    """What the next run finds: two that are equal it cannot tell apart.

    Not in it: what is staged, since a run removes that unseen before anything else; who held the
    lock, which is only printed; what is known of files that had other inodes; when things were
    made, but for whether it was ``since``.
    """
    found: set[tuple[object, ...]] = set()
    for path in disk.rglob("*"):
        name = str(path.relative_to(disk))
        if ".prefetch/staging/" in name or name.endswith(CONTENTS):
            continue
        status = path.stat()
        data = b""
        if path.is_file() and path.name != "lock":
            data = _OF_THE_RUN.sub(b"", path.read_bytes())
        found.add((name, path.is_dir(), data, status.st_mode, status.st_mtime >= since))
    return frozenset(found)
