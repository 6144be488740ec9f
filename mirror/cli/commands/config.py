"""``prefetch config``: which options hold where none is given, and where each comes from."""

from __future__ import annotations

import json as json_format
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from mirror.cli import settings
from mirror.cli.options import Json
from mirror.cli.running import print_document, run, write_lines
from mirror.errors import RequestError
from mirror.masking import without_secrets
from mirror.planning.lists.list_values import did_you_mean
from mirror.system.plain_files import is_there

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDEST: Final = 40
"""Where what sets an option stands, behind values that are not longer."""


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="COMMAND",
            help="Show every option of this command, also those that nothing sets.",
        ),
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Show which options are set, and where.

    Options can be set by variables of the environment, in ~/.config/prefetch/config.toml, and in
    /etc/prefetch/config.toml. What is printed is in the syntax of these files, with what sets it
    behind it.
    """
    run(execute(name, json=json), json=json)


@dataclass(frozen=True, slots=True)
class Held:
    """An option's value and what sets it: a variable, a file, or nothing (None)."""

    key: str
    value: Any
    origin: str | None


async def execute(name: str | None, *, json: bool) -> int:
    """Print what holds for a command, or what is set for any."""
    held = list(_of_command(name) if name else _set())
    files = [(str(each), is_there(each)) for each in settings.paths()]
    if json:
        print_document("config", _document(files, held))
    else:
        write_lines(_lines(files, held))
    return 0


def _set() -> Iterator[Held]:
    """What is set for any command; what is set for all of them stands once."""
    from mirror.cli.app import leaves  # noqa: PLC0415 - it loads this module

    seen = set()
    for words, command in leaves():
        for each in _held(words, command):
            if each.origin is not None and each.key not in seen:
                seen.add(each.key)
                yield each


def _of_command(name: str) -> Iterator[Held]:
    """What holds for a command.

    Raises:
        RequestError: there is no such command.

    """
    from mirror.cli.app import leaves  # noqa: PLC0415 - it loads this module

    found = {" ".join(words): (words, command) for words, command in leaves()}
    if name not in found:
        raise RequestError(
            f"there is no command called {name}{did_you_mean(name, found)}",
            hint=f"there are: {', '.join(found)}",
        )
    yield from _held(*found[name])


def _held(words: tuple[str, ...], command: Any) -> Iterator[Held]:
    """What holds for a command's options, found as typer finds it."""
    context = typer.Context(command, **command.context_settings)
    configured = cast("settings.Configured", context.default_map)
    for each in command.params:
        keys = configured.keys.get(each.name)
        if keys is None:
            continue
        given, source = each.consume_value(context, {})
        key, origin = ".".join((*words, keys.own[-1])), None
        if source.name == "ENVIRONMENT":
            origin = each.envvar
            shared = (name for name in keys.general if settings.variable(name) == origin)
            key = next(shared, key)
        elif found := configured.find(each.name):
            key, origin = found.key, str(found.file)
        value = None if given is None else each.process_value(context, given)
        yield Held(key, _plain(value), origin)


def _plain(value: Any) -> Any:
    """A value as JSON and TOML have it."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, PurePath) else value


def _lines(files: Sequence[tuple[str, bool]], held: Sequence[Held]) -> Iterator[str]:
    for path, is_read in files:
        yield f"# {path}: {'read' if is_read else 'not there'}"
    rows = [(without_secrets(_line(each)), each.origin or "default") for each in held]
    width = min(_WIDEST, max((len(line) for line, _ in rows), default=0))
    for line, origin in rows:
        yield f"{line:<{width}}  # {origin}"
    if not rows:
        yield "# no option is set"


def _line(held: Held) -> str:
    if held.value is None:
        return f"# {held.key}"
    return f"{held.key} = {json_format.dumps(held.value, ensure_ascii=False)}"


def _document(files: Sequence[tuple[str, bool]], held: Sequence[Held]) -> dict[str, Any]:
    """``config --json``."""
    return {
        "files": [{"path": path, "read": is_read} for path, is_read in files],
        "settings": [
            {"key": each.key, "value": each.value, "origin": each.origin} for each in held
        ],
    }
