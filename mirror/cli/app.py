"""The program: its commands, each of which is loaded when it is named.

Only what parsing needs is imported here, so that ``prefetch --help`` answers at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, cast

import typer
from typer.core import TyperGroup

from mirror.cli import INTERRUPTED, commands
from mirror.cli.running import print_error_document

if TYPE_CHECKING:
    from collections.abc import Iterator

Leaf: TypeAlias = tuple[tuple[str, ...], Any]
"""A command of typer's, and the words that call it."""

_UsageError: Final = cast("type[typer.BadParameter]", typer.BadParameter.__base__)
"""What typer raises for options that cannot be understood; it has no public name for it."""


class _Program(TyperGroup):
    """Builds a command of its module when it is asked for; typer does so for all at once."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's method
        """The names of all commands, in the order of ``--help``."""
        return list(commands.SUMMARIES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, None if there is none."""
        if cmd_name not in commands.SUMMARIES:
            for name in commands.SUMMARIES:
                self.get_command(ctx, name)  # typer suggests those that it knows
        elif cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's method
        """Write what there is of each command, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(commands.SUMMARIES.items()))


def _load(name: str) -> Any:
    command = import_module(f"{commands.__name__}.{name}").command
    if isinstance(command, typer.Typer):
        return typer.main.get_command(command)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name)(command)
    return typer.main.get_command(alone)


app = typer.Typer(
    name="prefetch",
    cls=_Program,
    help="Know, and prove, that a host can be rebuilt offline: "
    "fetch exactly what its rebuild needs, and keep it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def program(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Handle what stands before a command."""
    if version:
        from importlib.metadata import version as version_of  # noqa: PLC0415 - start-up time

        typer.echo(f"prefetch {version_of('prefetch')}")
        raise typer.Exit


PROGRAM: Final = typer.main.get_command(app)
"""The program as typer runs it."""


def leaves(command: Any = PROGRAM, words: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every command that does something, loaded, with the words that call it."""
    if not isinstance(command, TyperGroup):
        yield words, command
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*words, name))


def main() -> None:
    """Run the program; with --json, options that cannot be understood are a document, too."""
    try:
        code = PROGRAM(standalone_mode=False)
    except _UsageError as error:
        error.show()
        code = error.exit_code
        if "--json" in sys.argv:
            print_error_document(error.format_message(), None, code)
    except typer.Abort:
        code = INTERRUPTED
    sys.exit(code)
