"""The program: its commands, each of which is loaded when it is named.

Only what parsing needs is imported here, so that ``prefetch --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

from mirror.cli import INTERRUPTED, commands, parameters
from mirror.cli.running import end_by, print_error_document, write_error
from mirror.cli.settings import COMPLETING, Configured, Leaf, take_defaults
from mirror.errors import PrefetchError

if TYPE_CHECKING:
    from collections.abc import Iterator

_UsageError: Final = cast("type[typer.BadParameter]", typer.BadParameter.__base__)
"""What typer raises for options that cannot be understood; it has no public name for it."""


_ELSEWHERE: Final = (
    "Options can also be set by variables (PREFETCH_TO for --to) and in configuration files: see "
    "`prefetch config` and the manual page."
)
_SHELLS: Final = ("bash", "zsh", "fish")
_SETTINGS: Final = {"help_option_names": ["-h", "--help"]}


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


class _Command(TyperCommand):
    """A command whose help has options and arguments as the manual page has them."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's method
        """What stands after the command's name in its usage."""
        return ["[OPTIONS]", parameters.usage(self)]

    def invoke(self, ctx: Any) -> Any:
        """Run it; a person is told which lists were found where none was named."""
        source = ctx.get_parameter_source("lists")
        if source is not None and source.name == "DEFAULT" and sys.stderr.isatty():
            for each in ctx.params["lists"] or ():
                write_error(f"using {each}")
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options."""
        sections = {"Arguments": list(parameters.arguments(self))}
        for each in parameters.options(self, ctx):
            sections.setdefault(each.group or "Options", []).append(each)
        for title, described in sections.items():
            if described:
                with formatter.section(title):
                    formatter.write_dl([(each.label, each.about) for each in described])
        formatter.write_paragraph()
        formatter.write_text(_ELSEWHERE)


def _load(name: str) -> Any:
    """Build a command, or a group of commands, of what its module says."""
    module = import_module(f"{commands.__name__}.{name}")
    app = typer.Typer(
        add_completion=False,
        help=commands.SUMMARIES[name],
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings=_SETTINGS,
    )
    group = getattr(module, "COMMANDS", None)
    for word, command in (group or {name: module.command}).items():
        app.command(word, cls=_Command, context_settings=_SETTINGS)(command)
    built = typer.main.get_command(app)
    for words, leaf in leaves(built, (name,)):
        take_defaults(leaf, words, leaves)
    return built


app = typer.Typer(
    name="prefetch",
    cls=_Program,
    help="Make sure that Nix machines can be rebuilt without a network.\n\n"
    "What each target on a list needs for a rebuild is fetched, verified, and kept in a Nix store "
    "or a binary cache directory. Real builds without a network prove that it is enough.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings=_SETTINGS,
)


@app.callback(invoke_without_command=True)
def program(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    show_completion: Annotated[
        str | None,
        typer.Option(
            "--show-completion",
            metavar="SHELL",
            help="Print the completion of bash, zsh or fish and exit.",
            autocompletion=lambda: list(_SHELLS),
        ),
    ] = None,
) -> None:
    """Handle what stands before a command."""
    if version:
        from mirror.version import program_version  # noqa: PLC0415 - start-up time

        typer.echo(f"prefetch {program_version()}")
        raise typer.Exit
    if show_completion is not None:
        if show_completion not in _SHELLS:
            raise typer.BadParameter(f"--show-completion: one of {', '.join(_SHELLS)}")
        from typer import completion  # noqa: PLC0415 - start-up time

        # It is there for typer's own option, which takes no shell.
        script = cast("Any", completion).get_completion_script(
            prog_name="prefetch", complete_var=COMPLETING, shell=show_completion
        )
        typer.echo(script.strip())
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


def _name_file(error: Any) -> None:
    """Say of a wrong value that it stands in a configuration file, if it does."""
    parameter, context = getattr(error, "param", None), error.ctx
    if parameter is None or context is None or not isinstance(context.default_map, Configured):
        return
    source = context.get_parameter_source(parameter.name)
    found = context.default_map.find(parameter.name)
    if found is not None and source is not None and source.name == "DEFAULT_MAP":
        error.message = f"{error.message.removesuffix('.')} ({found.key} in {found.file})."


def main() -> None:
    """Run the program; with --json, options that cannot be understood are a document, too."""
    if COMPLETING in os.environ:
        from typer import completion  # noqa: PLC0415 - start-up time

        cast("Any", completion).completion_init()
    try:
        code = PROGRAM(standalone_mode=False, prog_name="prefetch")
    except PrefetchError as error:
        code = end_by(error, json="--json" in sys.argv)
    except _UsageError as error:
        _name_file(error)
        error.show()
        code = error.exit_code
        if "--json" in sys.argv:
            print_error_document(error.format_message(), None, code)
    except typer.Abort:
        code = INTERRUPTED
    sys.exit(code)
