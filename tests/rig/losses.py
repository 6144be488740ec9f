"""What can become of the files of a cache directory: drawn losses, and what real Nix makes of them.

A *loss* takes away, cuts or alters one file or some of a cache that a sync left, at any depth: a
narinfo or a NAR, of a derivation, a source, a build input, or of what only others refer to.
:func:`verdict` has real Nix say whether a client that starts with nothing can build a derivation
from what is left, and what it builds.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from mirror.formats.narinfo import parse_narinfo
from rig.running import ScratchStore, parse_dry_run, run

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from random import Random
    from subprocess import CompletedProcess

    from mirror.nix.command import Nix

Kind = Literal["remove", "cut", "alter", "append"]

KINDS: Final[tuple[Kind, ...]] = ("remove", "cut", "alter", "alter", "append")
_KNOWN_BUG: Final = "requires non-existent output"
"""What Nix up to 2.11.0 says where it builds some outputs of a derivation, and had the others.

They are there then, and it goes on when it is asked again (NixOS/nix#6572).
"""
_PART: Final = 0.3
"""How much of a cache is missing that was copied in part."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What becomes of one file, by its name below the cache; ``place`` and ``bit`` say where."""

    kind: Kind
    file: str
    place: float = 0.0
    bit: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.file} at {self.place:.3f} bit {self.bit}"

    def inflict(self, cache: Path) -> None:
        """Change a cache that has its files in common with others, which keep theirs."""
        file = cache / self.file
        data = bytearray(file.read_bytes())
        file.unlink()
        if self.kind == "remove":
            return
        place = int(self.place * len(data))
        if self.kind == "cut":
            del data[place:]
        elif self.kind == "append":
            data += b"more"
        else:
            data[place] ^= 1 << self.bit
        file.write_bytes(data)


def draw_losses(cache: Path, random: Random, *, among: Collection[str]) -> list[Loss]:
    """Draw what happens to a cache; each kind of path ``among`` those it holds is as likely."""
    kinds: dict[bool, list[str]] = {True: [], False: []}
    for file in sorted(cache.glob("*.narinfo")):
        path = parse_narinfo(file.read_bytes()).info.path
        if path in among:
            kinds[path.is_derivation].append(file.name)
    if random.random() < 0.05:
        every = [*kinds[True], *kinds[False]]
        return [Loss("remove", name) for name in random.sample(every, int(len(every) * _PART))]
    losses = {}
    for _ in range(random.choice((1, 1, 1, 1, 2, 3))):
        narinfo = random.choice(kinds[random.random() < 0.25] or kinds[False])
        name = narinfo
        if random.random() < 0.5:
            name = parse_narinfo((cache / narinfo).read_bytes()).url
        losses[name] = Loss(random.choice(KINDS), name, random.random(), random.randrange(8))
    return list(losses.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What Nix says of a derivation: ``build`` is None where it does not come to build anything.

    Where it had to be ``asked_again``, for a bug of its own, ``build`` may be less than it would
    have been otherwise: what was lacking for a substitute has been built by then.
    """

    is_built: bool
    build: frozenset[str] | None
    words: str
    asked_again: bool = False

    def agrees(self, build: Collection[str]) -> bool:
        """Whether this is what Nix builds, as far as it came to that."""
        if self.asked_again and self.build is not None:
            return self.build <= set(build)
        return self.build is None or self.build == set(build)


def verdict(
    nix: Nix,
    cache: Path,
    client: ScratchStore,
    root: str,
    *,
    key: str,
    fixed: Collection[str],
    for_real: bool = False,
) -> Verdict:
    """Have Nix build ``root`` in ``client``, from a cache directory alone.

    The derivation is the cache's own, unless the client has it. ``fixed`` are the derivations that
    fetch something, and fail without a network. Nothing is built where what Nix says beforehand,
    and substitutes for real, decides about it, unless ``for_real``.
    """
    config = [
        f"substituters = file://{cache}",
        "substitute = true",
        f"trusted-public-keys = {key}",
        "download-attempts = 1",
    ]
    if not for_real and not client.real(root).exists():
        copied = _copy_derivation(nix, root, f"file://{cache}", client, config=config)
        if copied.returncode != 0:
            return Verdict(is_built=False, build=None, words=copied.stderr)
    if not for_real:
        asked = ("nix-store", "--realise", "--dry-run", root)
        answer = run(nix, *asked, store=client, config=config, offline=True, check=False)
        if answer.returncode != 0:
            return Verdict(is_built=False, build=None, words=answer.stderr)
        said = parse_dry_run(answer.stderr)
        if not said.unknown and said.build:
            had = run(
                nix,
                *("nix-store", "--realise", *sorted(said.substitute)),
                store=client,
                config=config,
                offline=True,
                check=False,
            )
            fetched = said.build & set(fixed)
            if had.returncode == 0:
                words = "it would fetch" if fetched else ""
                return Verdict(is_built=not fetched, build=said.build, words=words)
            if fetched:
                return Verdict(is_built=False, build=None, words=had.stderr)
    return _built(nix, client, root, config)


@dataclass(frozen=True, slots=True)
class Clients:
    """Stores that have nothing, or a derivation that was evaluated there, with what it is made of.

    To have Nix make each of them takes it longer than all that it is asked then: one is made, in
    ``directory``, and copied.
    """

    nix: Nix
    derivations: ScratchStore
    directory: Path

    def make(self, client: ScratchStore, evaluated: str | None) -> None:
        """Make ``client``, which has the derivation ``evaluated``, if any."""
        first = ScratchStore(self.directory / Path(evaluated or "nothing").name)
        if not first.directory.exists():
            run(self.nix, "nix", "store", "ping", store=first)
            if evaluated is not None:
                _copy_derivation(
                    self.nix, evaluated, self.derivations.url, first, "--no-check-sigs"
                )

        def copied(file: str, to: str) -> None:
            # What is in a store is never written again; its database is.
            (os.link if file.startswith(str(first.real("/nix/store"))) else shutil.copy2)(file, to)

        shutil.copytree(first.directory, client.directory, symlinks=True, copy_function=copied)

    def remove(self) -> None:
        """Remove those that were copied."""
        ScratchStore(self.directory).remove()


def _copy_derivation(
    nix: Nix,
    root: str,
    source: str,
    client: ScratchStore,
    *options: str,
    config: Sequence[str] = (),
) -> CompletedProcess[str]:
    """Copy a derivation with all that it is made of."""
    command = ("nix", "copy", "--derivation", *options, "--from", source, "--to", client.url, root)
    return run(nix, *command, config=config, offline=True, check=False)


def _built(nix: Nix, client: ScratchStore, root: str, config: Sequence[str]) -> Verdict:
    built: set[str] = set()
    said, is_built, times = _KNOWN_BUG, False, 0
    while _KNOWN_BUG in said and not is_built:
        command = ("nix-store", "--realise", root)
        done = run(nix, *command, store=client, config=config, offline=True, check=False)
        said, is_built, times = done.stderr, done.returncode == 0, times + 1
        now = set(re.findall(r"^building '(/nix/store/[^']+\.drv)'", said, re.MULTILINE))
        if not now:
            break
        built |= now
    return Verdict(
        is_built=is_built,
        build=frozenset(built) if is_built else None,
        words=said,
        asked_again=times > 1,
    )


def copy_of(cache: Path, to: Path, losses: Sequence[Loss]) -> None:
    """Make a cache of the same files, and inflict losses on it.

    Its directory is another, and so no record says what its NARs had when they were read.
    """
    shutil.copytree(cache, to, copy_function=os.link)
    for loss in losses:
        loss.inflict(to)
