"""What stands for options that the command line does not give: variables, configuration files.

An option of the command line comes first, then a variable of the environment, then the user's
file, then the system's, then the default. In each, what is said for one command comes before what
is said for all that have the option. Files are TOML (https://toml.io/en/v1.0.0)::

    to = "/srv/cache"

    [sync]
    quiet = true

A file is read when a command asks for the first option that it was not given, so ``--help`` also
works with one that cannot be understood.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mirror.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Leaf: TypeAlias = tuple[tuple[str, ...], Any]
"""A command of typer's, and the words that call it."""

SYSTEM_FILE: Final = Path("/etc/prefetch/config.toml")
VARIABLE: Final = "PREFETCH_CONFIG"
"""Names a file to read instead of the user's and the system's; if it is empty, none is read."""

COMPLETING: Final = "_PREFETCH_COMPLETE"
"""What a shell sets when it asks for completions, which depend on no file."""

LISTS: Final = "list"
"""What stands for the lists that a command is about."""
_LISTS_VARIABLE: Final = "PREFETCH_LIST"
_EXPECTED: Final = "text, a number, true or false, or an array of texts"


@dataclass(frozen=True, slots=True)
class Keys:
    """What a parameter is called by in a file: in the command's own table, and outside of it."""

    own: tuple[str, ...]
    general: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """A value in a file."""

    key: str
    value: Any
    file: Path


def paths() -> list[Path]:
    """The files that are read if they are there, the one that comes first before the other."""
    if COMPLETING in os.environ:
        return []
    named = os.environ.get(VARIABLE)
    if named is not None:
        return [Path(named)] if named else []
    home = os.environ.get("HOME")
    directory = os.environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else None)
    own = [Path(directory, "prefetch/config.toml")] if directory else []
    return [*own, SYSTEM_FILE]


def take_defaults(
    command: Any, words: tuple[str, ...], leaves: Callable[[], Iterable[Leaf]]
) -> None:
    """Let variables and files stand for what a command of typer's is not given.

    ``leaves`` gives all commands; it is called only where a file has what this one does not know.

    ``PREFETCH_SYNC_TO`` is ``--to`` of ``prefetch sync``, ``PREFETCH_TO`` that of every command
    that has it. Flags go by a command's own variable alone: what they turn on differs. An option
    that names a variable itself goes by that, and in a file by its command's table.
    """
    keys = {}
    for each in command.params:
        found = _keys(each)
        if found is None:
            continue
        keys[each.name] = found
        if each.envvar:
            continue
        variables = [variable(*words, name) for name in found.own]
        variables += [variable(name) for name in found.general]
        each.envvar = next((one for one in variables if os.environ.get(one)), variables[0])
        # So an error names the variable where it may be one's value that is wrong.
        each.show_envvar = each.envvar in os.environ
    configured = Configured(words, command.params, keys, leaves)
    command.context_settings = {**command.context_settings, "default_map": configured}


def variable(*words: str) -> str:
    """The variable of the environment for an option.

    >>> variable("sync", "to")
    'PREFETCH_SYNC_TO'
    """
    return "_".join(("prefetch", *words)).replace("-", "_").upper()


def _keys(parameter: Any) -> Keys | None:
    """What a parameter is called in files; None if there is no default for it."""
    if parameter.param_type_name == "argument":
        return Keys((LISTS,), (LISTS,)) if parameter.envvar == _LISTS_VARIABLE else None
    names = tuple(name.removeprefix("--") for name in parameter.opts if name.startswith("--"))
    if not names:
        return None
    return Keys(names, () if parameter.is_flag or parameter.envvar else names)


class Configured:
    """What the files say for a command's parameters, by their names in Python.

    This is what typer takes for a ``default_map``.
    """

    def __init__(
        self,
        words: tuple[str, ...],
        parameters: Iterable[Any],
        keys: Mapping[str, Keys],
        leaves: Callable[[], Iterable[Leaf]],
    ) -> None:
        """Tell what a command is called, and what its parameters are called in files."""
        self._leaves = leaves
        self.words = words
        self.keys = keys
        self.parameters = {each.name: each for each in parameters}
        self._files: list[tuple[Path, dict[str, Any]]] | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """The value for a parameter.

        Raises:
            RequestError: a file cannot be read, or has something that cannot be meant.

        """
        found = self.find(name)
        return default if found is None else found.value

    def find(self, name: str) -> Setting | None:
        """The value for a parameter, and where it stands.

        Raises:
            RequestError: a file cannot be read, or has something that cannot be meant.

        """
        if name not in self.keys:
            return None
        if self._files is None:
            self._files = [(path, self._read(path)) for path in paths()]
        keys = self.keys[name]
        for path, document in self._files:
            own = _table(document, self.words)
            for names, table, prefix in ((keys.own, own, self.words), (keys.general, document, ())):
                key = next((each for each in names if each in table), None)
                if key is not None:
                    full = ".".join((*prefix, key))
                    value = _value(self.parameters[name], table[key], full, path)
                    return Setting(full, value, path)
        return None

    def _read(self, path: Path) -> dict[str, Any]:
        document = read(path)
        known = {name for each in self.keys.values() for name in each.own}
        _see_known(_table(document, self.words), known, self.words, path)
        general = {name for each in self.keys.values() for name in each.general}
        self._see_general(document, general, path)
        return document

    def _see_general(self, document: Mapping[str, Any], known: set[str], path: Path) -> None:
        """See that what stands outside of tables is an option, and each table a command's.

        ``known`` are this command's options. All are looked at only for what is none of these.

        Raises:
            RequestError: there is something else.

        """
        from mirror.cli.commands import SUMMARIES  # noqa: PLC0415 - it has this module's callers

        for key, value in document.items():
            if key in SUMMARIES:
                if not isinstance(value, dict):
                    raise RequestError(
                        f"{path}: {key} is a command; write its options below [{key}]"
                    )
            elif key not in known:
                everything = _everything(self._leaves())
                if isinstance(value, dict) or key not in everything:
                    names = SUMMARIES if isinstance(value, dict) else everything
                    raise _unknown(key, key, names, path)
                if not everything[key].general:
                    raise RequestError(
                        f"{path}: {key} has to be in the table of a command",
                        hint=f"what it turns on differs from command to command: [sync] {key} = …",
                    )


def read(path: Path) -> dict[str, Any]:
    """What a file says; nothing if it is not there, unless the environment names it.

    Raises:
        RequestError: it cannot be read.

    """
    # Most commands find no file, and start without what it takes to read one.
    import tomllib  # noqa: PLC0415

    from mirror.system.plain_files import read_plain_file, reason  # noqa: PLC0415

    try:
        return tomllib.loads(read_plain_file(path).decode())
    except (FileNotFoundError, NotADirectoryError) as error:
        if os.environ.get(VARIABLE):
            raise RequestError(f"{VARIABLE}: there is no {path}") from error
        return {}
    except (OSError, ValueError, RecursionError) as error:
        why = reason(error) if isinstance(error, OSError | ValueError) else "nested too deeply"
        raise RequestError(
            f"the configuration {path} cannot be read: {why}",
            hint=f'it is TOML, such as: to = "/srv/cache"; {VARIABLE}= reads none',
        ) from error


def _table(document: Mapping[str, Any], words: Sequence[str]) -> Mapping[str, Any]:
    """The part of a document that is about a command."""
    for word in words:
        document = document.get(word, {})
        if not isinstance(document, dict):
            return {}
    return document


def _see_known(
    table: Mapping[str, Any], known: Iterable[str], words: Sequence[str], path: Path
) -> None:
    """See that a table has only what its command knows.

    Raises:
        RequestError: it has something else.

    """
    for key in table:
        if key not in known:
            raise _unknown(".".join((*words, key)), key, known, path)


def _everything(leaves: Iterable[Leaf]) -> dict[str, Keys]:
    """The options of all commands; of those with one name, one that many can share."""
    found = [
        (name, keys)
        for _, command in leaves
        for keys in command.context_settings["default_map"].keys.values()
        for name in keys.own
    ]
    return dict(sorted(found, key=lambda each: bool(each[1].general)))


def _unknown(full: str, key: str, known: Iterable[str], path: Path) -> RequestError:
    from mirror.planning.lists.list_values import did_you_mean  # noqa: PLC0415 - start-up time

    return RequestError(
        f"{path}: unknown setting {full}{did_you_mean(key, known)}",
        hint="settings are named as options are, without the dashes in front",
    )


def _value(parameter: Any, value: Any, key: str, path: Path) -> Any:
    """A value of a file, as the command line gives it.

    Raises:
        RequestError: it is of no kind that the parameter has.

    """
    is_flag = getattr(parameter, "is_flag", False)
    if is_flag != isinstance(value, bool):
        wanted = "true or false" if is_flag else "text or a number"
        raise RequestError(f"{path}: {key} has to be {wanted}, not {value!r}")
    if is_flag:
        return value
    if getattr(parameter, "multiple", False) or parameter.nargs != 1:
        values = value if isinstance(value, list) else [value]
        return [_text(each, key, path) for each in values]
    return _text(value, key, path)


def _text(value: Any, key: str, path: Path) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RequestError(f"{path}: {key}: not a value of an option: {value!r}", hint=_EXPECTED)
    try:
        text = str(value)
    except ValueError as error:  # it has more digits than Python writes
        raise RequestError(f"{path}: {key}: the number is too large") from error
    # A shell does that with what is typed.
    return os.path.expanduser(text) if text.startswith("~/") else text  # noqa: PTH111
