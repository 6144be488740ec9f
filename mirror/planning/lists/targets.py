"""What a list asks for: targets, their installables, levels and edits."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Level(enum.IntEnum):
    """How much of the build graph is made ready; each includes the one before."""

    RUNTIME = 0
    REBUILD = 1
    SOURCES = 2
    FULL = 3

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The words of the list, from the least to the most."""
        return tuple(level.word for level in cls)

    @property
    def word(self) -> str:
        """The level's word in a list and on the command line."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class FlakeInstallable:
    """``FLAKE#NAME``; ``flake`` is a flake reference, with a relative path made absolute."""

    flake: str
    name: str


@dataclass(frozen=True, slots=True)
class FileInstallable:
    """``FILE.nix`` or ``FILE.nix#ATTR``; without an attribute it is a NixOS configuration.

    ``arguments`` is a file with an attribute set that a file which is a function is called with.
    """

    file: Path
    attribute: str | None
    arguments: Path | None = None


@dataclass(frozen=True, slots=True)
class PathInstallable:
    """A ``.drv``, a store path, or a link to one (a profile): ``path`` is absolute."""

    path: Path


Installable = FlakeInstallable | FileInstallable | PathInstallable


@dataclass(frozen=True, slots=True)
class Edit:
    """A change that the target's owner may want to make without a network.

    ``file`` is a NixOS module, or for a file that is a function an attribute set of arguments.
    With ``argument`` the file is a function from that text to its module (``package:ripgrep``).
    """

    name: str
    file: Path
    argument: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One line of a list.

    ``installable_text`` is what the list says, for reports: without the credentials of a URL.
    ``raised`` maps package names to the level that they alone are raised to. The names of ``edits``
    are unique. ``budget`` is in bytes. ``list_file`` is the absolute name of the list that has it;
    None if that has none that lasts. ``private`` and ``public`` are names of what evaluating it
    reads: what others are not given, or are, other than usual.
    """

    name: str
    installable: Installable
    installable_text: str
    level: Level = Level.REBUILD
    raised: tuple[tuple[str, Level], ...] = ()
    edits: tuple[Edit, ...] = ()
    budget: int | None = None
    list_file: str | None = None
    private: tuple[str, ...] = ()
    public: tuple[str, ...] = ()


def split_attribute_path(text: str) -> tuple[str, ...]:
    """Split an attribute path as Nix's command line does: ``a."b.c".d`` is ``a``, ``b.c``, ``d``.

    Raises:
        ValueError: a quote is not closed, or a name is missing; its text says which.

    """
    names: list[str] = []
    current, quoted, was_quoted = "", False, False
    for character in f"{text}.":
        if character == '"':
            quoted = not quoted
            was_quoted = True
        elif character == "." and not quoted:
            if not current and not was_quoted:
                raise ValueError(f"a name is missing in the attribute path {text!r}")
            names.append(current)
            current, was_quoted = "", False
        else:
            current += character
    if quoted:
        raise ValueError(f"a quote is not closed in the attribute path {text!r}")
    return tuple(names)
