"""The values of a list's options: what each may be, and those that have a grammar of their own.

Which options there are in a line, and what they go with, :mod:`mirror.planning.lists.list_file`
decides.
"""

from __future__ import annotations

import difflib
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.planning.lists.targets import Edit, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mirror.planning.lists.list_words import Place, Word

VALUE_WORDS: Final = {
    "args": "a file with an attribute set: args=FILE.nix",
    "budget": "bytes with one of the units k M G T Ki Mi Gi Ti: budget=20G",
    "edits": "names of edits or files with commas between: edits=NAME,./FILE.nix",
    "full": "package names with commas between: full=NAME,NAME",
    "level": f"one of {', '.join(Level.names())}",
    "private": "names of a flake's inputs, `self` or `all`, with commas between: private=NAME",
    "public": "names of a flake's inputs, `self` or `all`, with commas between: public=NAME",
    "sources": "package names with commas between: sources=NAME,NAME",
}
"""Each option, with what its value may be."""

WITH_ARGUMENT: Final = ("package",)
"""The shipped edits that are about something which the list names: ``package:ripgrep``."""

NEAREST: Final = 3
"""So many names are shown in the place of one that is not there."""

_ARGUMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+'-]*")
_AMOUNT: Final = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)([kMGT]|[KMGT]i)?")
_UNITS: Final = {
    "": 1,
    **{unit: 1000 ** (n + 1) for n, unit in enumerate("kMGT")},
    **{f"{unit}i": 1024 ** (n + 1) for n, unit in enumerate("KMGT")},
}


def nearest(text: str, known: Iterable[str]) -> list[str]:
    """The known words that are most like ``text``, the nearest first, however far they are."""
    return difflib.get_close_matches(text, list(dict.fromkeys(known)), n=NEAREST, cutoff=0)


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """Ask for the nearest of the known words, if one is near."""
    near = difflib.get_close_matches(text, known, n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def split_commas(value: Word) -> Iterator[Word]:
    """Split at commas; a part may be empty."""
    start = 0
    for text in value.text.split(","):
        yield value.part(start, start + len(text))
        start += len(text) + 1


def read_budget(value: Word, place: Place) -> int:
    """Read an amount of bytes, such as ``20G`` or ``1.5Gi``.

    Raises:
        ListError: it is none, or nothing.

    """
    budget = amount(value.text)
    if budget is None:
        raise place.error(f"{value.text!r} is not a budget", value.column, VALUE_WORDS["budget"])
    return budget


def amount(text: str) -> int | None:
    """A number of bytes that is more than nothing, as ``budget=`` has it; None if it is none.

    >>> amount("1.5Gi"), amount("much")
    (1610612736, None)
    """
    found = _AMOUNT.fullmatch(text)
    return (int(Decimal(found[1]) * _UNITS[found[2] or ""]) or None) if found else None


def read_edits(
    value: Word,
    place: Place,
    shipped: Mapping[str, Path] | None,
    own_file: Callable[[Word, str], Path],
) -> tuple[Edit, ...]:
    """Read the names of edits that prefetch ships, and the files of the user's own.

    ``shipped`` is None where only files go, since what is edited takes no module. ``own_file``
    makes a path of the list absolute.

    Raises:
        ListError: an edit is not known or cannot be one, or two have one name.

    """
    edits: dict[str, Edit] = {}
    for word in split_commas(value):
        if not word.text or word.text != word.text.strip():
            raise place.error("edits= lacks a name or file", word.column, VALUE_WORDS["edits"])
        if "/" in word.text or word.text.endswith(".nix"):
            edit = _own_edit(word, place, own_file)
        else:
            edit = _shipped_edit(word, place, shipped)
        if edit.name in edits:
            raise place.error(
                f"two edits are called {edit.name!r}", word.column, "a unique name for each"
            )
        edits[edit.name] = edit
    return tuple(edits.values())


def _own_edit(word: Word, place: Place, own_file: Callable[[Word, str], Path]) -> Edit:
    stem = Path(word.text).name.removesuffix(".nix")
    if not word.text.endswith(".nix") or not stem:
        raise place.error(
            f"{word.text!r} is not a Nix file", word.column, "a file whose name ends in .nix"
        )
    return Edit(stem, own_file(word, word.text))


def _shipped_edit(word: Word, place: Place, shipped: Mapping[str, Path] | None) -> Edit:
    name, mark, argument = word.text.partition(":")
    if shipped is None:
        raise place.error(
            f"{word.text!r} would be a NixOS module, which does not go with FILE.nix#ATTRIBUTE",
            word.column,
            "a file with an attribute set of arguments: edits=./FILE.nix",
        )
    if name not in shipped:
        known = ", ".join(
            f"{each}:NAME" if each in WITH_ARGUMENT else each for each in sorted(shipped)
        )
        raise place.error(
            f"unknown edit {name!r}{did_you_mean(name, shipped)}",
            word.column,
            f"one of {known}, or a file of your own: ./FILE.nix",
        )
    if name not in WITH_ARGUMENT:
        if mark:
            raise place.error(f"the edit {name!r} takes no argument", word.columns[len(name)], name)
        return Edit(name, shipped[name])
    if not _ARGUMENT.fullmatch(argument):
        column = word.columns[len(name) + len(mark)]
        raise place.error(f"{name}: lacks the name of a {name}", column, f"{name}:NAME")
    return Edit(word.text, shipped[name], argument)
