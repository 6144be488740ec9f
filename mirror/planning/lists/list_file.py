"""The list: a text file of targets, one a line.

::

    # [name =] installable [option=value ...]
    pi     = .#pi                         level=sources edits=hosts,package:ripgrep,./mine.nix
    laptop = /etc/nixos/configuration.nix sources=linux,neovim budget=20G
    image  = ./image.nix#toplevel         args=./image-args.nix
    tools  = nixpkgs#ripgrep              level=runtime
    /run/current-system

A ``#`` starts a comment at the beginning of a line or after white space. What contains white space
is put in double or single quotes, as in a shell; there are no other escapes. Relative paths are
relative to the list.

Promises: only :class:`~mirror.errors.ListError` is raised, with the line and the column (both
from 1, in characters) of the very word that cannot be understood and what was expected there.
Leaves to others: reading the file, and whether what the targets name exists; only the edits that
prefetch ships are known here, by the names that the caller gives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.errors import ListError
from mirror.masking import without_secrets
from mirror.planning.lists.list_values import (
    VALUE_WORDS,
    did_you_mean,
    read_budget,
    read_edits,
    split_commas,
)
from mirror.planning.lists.list_words import Place, Word, split_words
from mirror.planning.lists.targets import (
    Edit,
    FileInstallable,
    FlakeInstallable,
    Installable,
    Level,
    PathInstallable,
    Target,
    split_attribute_path,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OPTIONS: Final = tuple(VALUE_WORDS)
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,99}")
_NAME_WORDS: Final = "a name of letters, digits and . _ - + @ (100 at most, the first not a sign)"
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_STORE_FILE: Final = re.compile(r"/nix/store/[0-9a-z]{32}-([^/]+)")
_INSTALLABLE_WORDS: Final = (
    "FLAKE#NAME, FILE.nix, FILE.nix#ATTRIBUTE, a .drv, a store path or a link to one"
)


def decode_list(data: bytes, file: str) -> str:
    """Decode the bytes of a list, which are UTF-8, with or without a byte order mark.

    Raises:
        ListError: they are not UTF-8; it names the first such byte's place.

    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Python counts from behind the mark here, so the good part is taken from its own object.
        good = error.object[: error.start].decode("utf-8")
        line = good.count("\n") + 1
        raise ListError(
            f"the byte 0x{error.object[error.start]:02x} is not UTF-8",
            file=file,
            line=line,
            column=len(good) - (good.rfind("\n") + 1) + 1,
            expected="a text file encoded in UTF-8",
        ) from None


def parse_list(
    text: str, *, file: str, directory: Path, shipped_edits: Mapping[str, Path]
) -> list[Target]:
    """Read a whole list; ``file`` is its name for errors, ``directory`` its absolute directory.

    ``shipped_edits`` are the files of the edits that prefetch ships, by name.

    Raises:
        ListError: a line cannot be understood, or two targets have one name.

    """
    targets: list[Target] = []
    lines_of_names: dict[str, int] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        place = Place(file=file, line=number)
        words = split_words(line, place)
        if not words:
            continue
        reader = _LineReader(place=place, directory=directory, shipped_edits=shipped_edits)
        target, name_word = reader.target(words)
        if target.name in lines_of_names:
            raise place.error(
                f"the name {target.name!r} is that of line {lines_of_names[target.name]} already",
                name_word.column,
                "a unique name for each target: NAME = INSTALLABLE",
            )
        lines_of_names[target.name] = number
        targets.append(target)
    return targets


@dataclass(frozen=True, slots=True, kw_only=True)
class _LineReader:
    """Reads the words of one line; every error names its place."""

    place: Place
    directory: Path
    shipped_edits: Mapping[str, Path]

    def target(self, words: Sequence[Word]) -> tuple[Target, Word]:
        """Read the words of a line; also gives the word that its name is from."""
        name, rest, end = self._split_name(words)
        if not rest:
            raise self.place.error("there is no installable", end, _INSTALLABLE_WORDS)
        installable_word, *option_words = rest
        if installable_word.text == "":
            raise self.place.error(
                "the installable is empty", installable_word.column, _INSTALLABLE_WORDS
            )
        options = self._options(option_words)
        installable = self._installable(installable_word, options.get("args"))
        default = _default_name(installable)
        if name is None and _NAME.fullmatch(default) is None:
            raise self.place.error(
                f"{default!r}, from the installable, cannot be the target's name",
                installable_word.column,
                "NAME = INSTALLABLE",
            )
        target = Target(
            name=default if name is None else name.text,
            installable=installable,
            installable_text=without_secrets(installable_word.text),
            level=self._level(options["level"]) if "level" in options else Level.REBUILD,
            raised=self._raised(options),
            edits=self._edits(options["edits"], installable) if "edits" in options else (),
            budget=read_budget(options["budget"], self.place) if "budget" in options else None,
            private=self._names(options.get("private"), "private", installable),
            public=self._names(options.get("public"), "public", installable),
        )
        return target, name or installable_word

    def _split_name(self, words: Sequence[Word]) -> tuple[Word | None, list[Word], int]:
        """Split off ``name =``; also gives the column behind what was split off."""
        first = words[0]
        place = first.equals_sign
        if place < 0 and len(words) > 1 and words[1].equals_sign == 0:
            name, equals_word, rest = first, words[1], list(words[2:])
            place = 0
        elif place >= 0 and (place == 0 or _NAME.fullmatch(first.text[:place])):
            name, equals_word, rest = first.part(0, place), first, list(words[1:])
        else:
            return None, list(words), first.columns[-1]
        if _NAME.fullmatch(name.text) is None:
            raise self.place.error(
                f"{name.text!r} cannot be a target's name", name.column, _NAME_WORDS
            )
        if place + 1 < len(equals_word.text):
            rest.insert(0, equals_word.part(place + 1))
        return name, rest, equals_word.columns[place + 1]

    def _options(self, words: Sequence[Word]) -> dict[str, Word]:
        options: dict[str, Word] = {}
        known = " ".join(f"{option}=" for option in OPTIONS)
        for word in words:
            place = word.equals_sign
            if place <= 0:
                raise self.place.error(
                    f"{word.text!r} is not an option",
                    word.column,
                    f"OPTION=VALUE without white space, with one of {known}",
                )
            option, value = word.text[:place], word.part(place + 1)
            if option not in OPTIONS:
                raise self.place.error(
                    f"unknown option {option!r}{did_you_mean(option, OPTIONS)}",
                    word.column,
                    f"one of {known}",
                )
            if option in options:
                raise self.place.error(f"the option {option!r} is given twice", word.column)
            if not value.text:
                raise self.place.error(f"{option}= has no value", value.column, VALUE_WORDS[option])
            options[option] = value
        return options

    def _level(self, value: Word) -> Level:
        for level in Level:
            if level.word == value.text:
                return level
        raise self.place.error(
            f"unknown level {value.text!r}{did_you_mean(value.text, Level.names())}",
            value.column,
            VALUE_WORDS["level"],
        )

    def _edits(self, value: Word, installable: Installable) -> tuple[Edit, ...]:
        if isinstance(installable, PathInstallable):
            raise self.place.error(
                "edits= does not go with a derivation or a store path, which cannot be changed",
                value.column,
                "it with FLAKE#NAME, FILE.nix or FILE.nix#ATTRIBUTE",
            )
        shipped: Mapping[str, Path] | None = self.shipped_edits
        if isinstance(installable, FileInstallable) and installable.attribute is not None:
            shipped = None
        return read_edits(value, self.place, shipped, self._path)

    def _names(self, value: Word | None, option: str, of: Installable) -> tuple[str, ...]:
        if value is None:
            return ()
        if isinstance(of, PathInstallable):
            raise self.place.error(
                f"{option}= does not go with a derivation or a store path, which is not evaluated",
                value.column,
                "it with FLAKE#NAME, FILE.nix or FILE.nix#ATTRIBUTE",
            )
        parts = list(split_commas(value))
        for part in parts:
            if not part.text or part.text != part.text.strip():
                raise self.place.error(f"{option}= lacks a name", part.column, VALUE_WORDS[option])
        return tuple(part.text for part in parts)

    def _raised(self, options: dict[str, Word]) -> tuple[tuple[str, Level], ...]:
        raised: dict[str, Level] = {}
        for option, level in (("sources", Level.SOURCES), ("full", Level.FULL)):
            if (value := options.get(option)) is None:
                continue
            for part in split_commas(value):
                name = part.text
                if not name or name != name.strip():
                    raise self.place.error(
                        f"{option}= lacks a package name", part.column, VALUE_WORDS[option]
                    )
                if name in raised:
                    raise self.place.error(f"the package {name!r} is named twice", part.column)
                raised[name] = level
        return tuple(raised.items())

    def _installable(self, word: Word, arguments: Word | None) -> Installable:
        installable = self._classified(word)
        if arguments is None:
            return installable
        if not isinstance(installable, FileInstallable) or installable.attribute is None:
            raise self.place.error(
                f"args= does not go with {word.text!r}",
                arguments.column,
                "it with FILE.nix#ATTRIBUTE, whose file is a function",
            )
        return FileInstallable(
            installable.file, installable.attribute, self._path(arguments, arguments.text)
        )

    def _classified(self, word: Word) -> Installable:
        text = word.text
        before, mark, attribute = text.partition("#")
        has_scheme = _SCHEME.match(text) is not None
        is_file = before.endswith(".nix") and not has_scheme
        if mark:
            if not attribute or not before:
                missing, index = ("name", len(text)) if before else ("flake or file", 0)
                wanted = "FILE.nix#ATTRIBUTE" if is_file else "FLAKE#NAME"
                raise self.place.error(
                    f"the {missing} is missing in {text!r}", word.columns[index], wanted
                )
            self._check_attribute(attribute, word.columns[len(before) + 1])
            if is_file:
                return FileInstallable(self._path(word, before), attribute)
            return FlakeInstallable(self._flake(word, before), attribute)
        if is_file:
            return FileInstallable(self._path(word, text), None)
        if not has_scheme and (text.endswith(".drv") or text.startswith(("/", "./", "../", "~"))):
            return PathInstallable(self._path(word, text))
        raise self.place.error(
            f"{text!r} is not an installable (a flake needs an attribute)",
            word.column,
            f"{text}#NAME for a flake, else one of {_INSTALLABLE_WORDS}",
        )

    def _check_attribute(self, attribute: str, column: int) -> None:
        try:
            split_attribute_path(attribute)
        except ValueError as error:
            raise self.place.error(
                str(error), column, 'an attribute path such as a.b or a."b.c"'
            ) from None

    def _path(self, word: Word, text: str) -> Path:
        try:
            return self.directory / Path(text).expanduser()
        except RuntimeError:
            raise self.place.error(
                f"the home directory in {text!r} is not known", word.column
            ) from None

    def _flake(self, word: Word, reference: str) -> str:
        """Make the path in a flake reference absolute; a registry's name or a URL stays."""
        location, mark, query = reference.partition("?")
        if location in {".", ".."} or location.startswith(("./", "../", "~", "/")):
            return f"{self._path(word, location)}{mark}{query}"
        for scheme in ("path:", "git+file:"):
            path = location.removeprefix(scheme)
            if path != location and not path.startswith("/"):
                authority = "" if scheme == "path:" else "//"
                return f"{scheme}{authority}{self._path(word, path or '.')}{mark}{query}"
        return reference


def _default_name(installable: Installable) -> str:
    """Make a name of the last attribute, or of the file without its suffix."""
    match installable:
        case FlakeInstallable(name=name):
            return split_attribute_path(name)[-1]
        case FileInstallable(attribute=str(attribute)):
            return split_attribute_path(attribute)[-1]
        case FileInstallable(file=path) | PathInstallable(path=path):
            in_store = _STORE_FILE.fullmatch(str(path))
            name = in_store[1] if in_store else path.name
            return name.removesuffix(".nix").removesuffix(".drv")
