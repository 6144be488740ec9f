"""The options and arguments of a command, as ``--help`` and the manual page show them.

They are those that typer reads; what it shows of them by itself differs from one version of it to
the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An option or argument: its names, what stands for its value, what it means.

    ``about`` ends with the default, where there is one that the text does not give.
    """

    names: tuple[str, ...]
    value: str | None
    about: str

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
    """The options of a command of typer's, in order; ``--help`` is the last."""
    for each in command.get_params(context):
        if not _is_argument(each) and not each.hidden:
            names = sorted((*each.opts, *each.secondary_opts), key=len)
            value = None if each.is_flag else _name(each)
            yield Parameter(names=tuple(names), value=value, about=f"{each.help}{_default(each)}")


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
