"""The options and arguments of a command, as ``--help`` and the manual page show them.

They are those that typer reads; what it shows of them by itself differs from one version of it to
the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


_TOGETHER: Final = 10
"""So many options are taken in without groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An option or argument: its names, what stands for its value, what it means.

    ``about`` ends with the default, where there is one that the text does not give. ``group`` is
    what it is about, with others of its command.
    """

    names: tuple[str, ...]
    value: str | None
    about: str
    group: str = ""

    @property
    def label(self) -> str:
        """How it is written: ``-j, --jobs N``."""
        return " ".join([", ".join(self.names), *([self.value] if self.value else [])])


def usage(command: Any) -> str:
    """The arguments of a command: ``[LIST]...``."""
    return " ".join(_usage(each) for each in command.params if _is_argument(each))


def arguments(command: Any) -> Iterator[Parameter]:
    """The arguments of a command of typer's, in order."""
    for each in command.params:
        if _is_argument(each):
            yield Parameter(names=(_name(each),), value=None, about=each.help)


def options(command: Any, context: Any) -> Iterator[Parameter]:
    """The options of a command of typer's; ``--help`` is the last.

    Those of a command that has many come in groups, first those without one.
    """
    shown = [
        each for each in command.get_params(context) if not _is_argument(each) and not each.hidden
    ]
    found = [
        Parameter(
            names=tuple(sorted((*each.opts, *each.secondary_opts), key=len)),
            value=None if each.is_flag else _name(each),
            about=f"{each.help}{_default(each)}",
            group=(each.rich_help_panel or "") if len(shown) > _TOGETHER else "",
        )
        for each in shown
    ]
    groups = list(dict.fromkeys(each.group for each in found if each.group))
    for group in ("", *groups):
        yield from (each for each in found if each.group == group)


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _name(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _usage(argument: Any) -> str:
    name = _name(argument) if argument.required else f"[{_name(argument)}]"
    return name if argument.nargs == 1 else f"{name}..."


def _default(option: Any) -> str:
    if option.required:
        return " Required."
    if option.is_flag or option.default is None:
        return ""
    return f" Default: {option.default}."
