"""What a command was asked, as it was typed, and what it means: targets, options."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.cli.amounts import read_rate, read_size
from mirror.cli.default_lists import NONE_FOUND
from mirror.errors import ListError, RequestError, printable
from mirror.formats.store_path import STORE_DIRECTORY
from mirror.planning.lists.list_file import decode_list, parse_list
from mirror.planning.lists.list_values import did_you_mean
from mirror.planning.lists.targets import FileInstallable, Level
from mirror.shipped import shipped_edits
from mirror.system.plain_files import (
    is_directory,
    is_file,
    read_given_file,
    reason,
    why_unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.nix.evaluation.evaluators import EvaluatorBounds
    from mirror.planning.lists.targets import Target
    from mirror.sync.workshop import WorkshopOptions

_TARGET_FILES: Final = (".nix", ".drv")
_STANDARD_INPUT: Final = Path("/dev/stdin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a command was asked, as it was typed."""

    lists: tuple[str, ...]
    to: str | None
    only: tuple[str, ...] | None = None
    edits: str | None = None
    level: str | None = None
    store: str | None = None
    substituters: tuple[str, ...] | None = None
    trusted_keys: tuple[str, ...] | None = None
    builder: bool = True
    archives: bool = True
    limit_rate: str | None = None
    signing_key: Path | None = None
    allow_refused: bool = False
    re_evaluate: bool = False
    evaluators: int | None = None
    evaluator_memory: str | None = None

    @property
    def mending(self) -> str:
        """The command that brings what is missing."""
        words = ["prefetch", "sync", *self.lists]
        for name in self.only or ():
            words += ["--only", name]
        for option, value in (("--edits", self.edits), ("--to", self.to)):
            words += [option, value] if value else []
        return shlex.join(words)

    @property
    def list_names(self) -> tuple[str, ...]:
        """What the lists are known by from one run to the next, of those that have such a name.

        Empty if only some of their targets are asked for, which says nothing of the others.
        """
        if self.only:
            return ()
        lists = (
            path
            for each in self.lists
            if not _is_target(each) and not is_directory(path := Path(each))
        )
        return tuple(name for each in lists if (name := list_name(each)) is not None)

    def workshop_options(self) -> WorkshopOptions:
        """Where paths may be obtained, and how.

        Raises:
            RequestError: the rate or a size cannot be read.

        """
        # What serves or prunes asks no network, and starts without what it takes.
        from mirror.sync.workshop import WorkshopOptions  # noqa: PLC0415 - start-up time

        return WorkshopOptions(
            store=self.store,
            substituters=self.substituters,
            trusted_keys=self.trusted_keys,
            builder=self.builder,
            archives=self.archives,
            limit_rate=read_rate(self.limit_rate) if self.limit_rate else None,
            allow_refused=self.allow_refused,
            re_evaluate=self.re_evaluate,
            evaluators=self.evaluator_bounds(),
        )

    def evaluator_bounds(self) -> EvaluatorBounds:
        """How many evaluate at once, and what each may take.

        Raises:
            RequestError: the size cannot be read.

        """
        from mirror.nix.evaluation.evaluators import EvaluatorBounds  # noqa: PLC0415 - start-up time

        memory = None if self.evaluator_memory is None else read_size(self.evaluator_memory)
        return EvaluatorBounds(at_once=self.evaluators, memory=memory)


async def read_lists(request: Request) -> list[Target]:
    """Read the lists; names are unique over all of them.

    Raises:
        RequestError: a list cannot be read, or a line of it; no list has a target of this name.

    """
    return _chosen([each for name in request.lists for each in await _read_list(name)], request)


async def read_targets(request: Request) -> list[Target]:
    """Read the lists, and the targets that are named in the place of lists.

    A flake's directory stands for all of its NixOS configurations.

    Raises:
        RequestError: the same; or a target is not one.
        EvaluationError: a flake has no configurations, or cannot be read.
        ToolError: Nix, which is asked for them, cannot be used.

    """
    lists = [each for name in request.lists for each in await _with_hosts(name)]
    if request.edits is not None and not any(map(_is_target, lists)):
        raise RequestError(
            "--edits goes with a target that is named on the command line, such as .#laptop",
            hint="in a list, write edits=… behind the target",
        )
    if not request.lists:
        raise RequestError("no list is named, and none is found", hint=NONE_FOUND)
    targets: list[Target] = []
    for each in lists:
        named = _is_target(each)
        targets += [_read_target(each, request.edits)] if named else await _read_list(each)
    return _chosen(targets, request)


def _chosen(targets: list[Target], request: Request) -> list[Target]:
    """Those that are asked for, at the level that is asked for."""
    if not targets:
        raise RequestError(
            f"no target in {', '.join(request.lists)}", hint="add a line such as: pi = .#pi"
        )
    names: set[str] = set()
    for target in targets:
        if target.name in names:
            raise RequestError(
                f"two targets are called {target.name}", hint="rename one of them: NAME = …"
            )
        names.add(target.name)
    for name in request.only or ():
        if name not in names:
            raise RequestError(
                f"--only {name}: no target is called so{did_you_mean(name, sorted(names))}",
                hint=f"there are: {', '.join(sorted(names))}",
            )
    if request.only:
        targets = [each for each in targets if each.name in request.only]
    if request.level is None:
        return targets
    level = _read_level(request.level)
    return [replace(target, level=level) for target in targets]


async def _with_hosts(text: str) -> list[str]:
    """The hosts of what stands in the place of a list, if it is a flake's directory."""
    if not is_file(Path(text) / "flake.nix"):
        return [text]
    # Most commands name a list, and start without what runs Nix.
    from mirror.nix.command import Nix  # noqa: PLC0415
    from mirror.nix.evaluation.hosts import host_names  # noqa: PLC0415

    names = await host_names(await Nix.find(), os.path.join(os.getcwd(), text))  # noqa: PTH109, PTH118
    return [f"{text}#{name}" for name in names]


def _is_target(text: str) -> bool:
    """Whether what stands in the place of a list is a target: it is no file that may be a list."""
    if text == "-" or os.path.isfile(text):  # noqa: PTH113 - any text; False if it cannot be known
        return text.endswith(_TARGET_FILES)
    # A directory is a target by a link into a store: a profile, what nix build leaves.
    if os.path.isdir(text):  # noqa: PTH112 - as above
        return os.path.realpath(text).startswith(f"{STORE_DIRECTORY}/")
    words = text.split()
    return "#" in text or "=" in words or any(each.endswith(_TARGET_FILES) for each in words)


def _read_target(text: str, edits: str | None) -> Target:
    """Read a target as a line of a list has it, with its name and options if there are any."""
    # A shell's word may have spaces, which are part of a file's name then.
    file, mark, rest = text.partition("#")
    is_file = os.path.exists(file)  # noqa: PTH110 - as above
    line = f"{_quoted(file)}{mark}{rest}" if is_file else text
    if edits is not None:
        line += f" edits={_quoted(edits)}"
    try:
        target = _parse_one(line)
    except ListError as error:
        raise RequestError(f"{text}: {error.problem}", hint=error.hint) from error
    if edits is not None and not target.edits:
        raise RequestError(f"{text}: --edits goes with a target without a comment")
    _see_files([target], text, to="the working directory")
    return target


def _parse_one(line: str) -> Target:
    read = []
    if len(line.splitlines()) == 1:
        read = parse_list(line, file="TARGET", directory=Path.cwd(), shipped_edits=shipped_edits())
    if len(read) != 1:
        raise RequestError(f"not one target: {line!r}", hint="a target is one line of a list")
    return read[0]


def _quoted(text: str) -> str:
    if not any(each.isspace() or each in "'\"=" for each in text):
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'


def list_name(path: Path) -> str | None:
    """What a list is known by from one run to the next: its absolute name, links not followed.

    None if it has no name that lasts: the next run's standard input or ``<(program)`` is another.
    """
    name = path.absolute()
    if _is_standard_input(path) or name.is_relative_to("/dev") or name.is_relative_to("/proc"):
        return None
    return printable(str(name))


async def named_target(request: Request, name: str) -> Target:
    """Find the target that the lists have by this name; without lists, read it as one has it.

    Raises:
        RequestError: no list has it, or it cannot be read.

    """
    if not request.lists:
        try:
            target = _parse_one(f"target = {name}")
        except ListError as error:
            raise RequestError(
                error.problem,
                hint=f"name its list (--list LIST), or write it as in a list: {error.hint}",
            ) from error
        return replace(target, name=target.installable_text)
    targets = {each.name: each for each in await read_lists(request)}
    if name not in targets:
        raise RequestError(
            f"{', '.join(request.lists)} has no target called {name}",
            hint=f"it has: {', '.join(targets)}",
        )
    return targets[name]


def _see_files(targets: Iterable[Target], file: str, *, to: str = "the list") -> None:
    """See that the files are there that targets of the list ``file`` are changed by.

    Raises:
        RequestError: one is not.

    """
    for target in targets:
        named = {f"edits={each.name}": each.file for each in target.edits}
        if isinstance(target.installable, FileInstallable) and target.installable.arguments:
            named["args"] = target.installable.arguments
        for option, wanted in named.items():
            why = why_unreadable(wanted)
            if why is not None:
                raise RequestError(
                    f"{file}: {target.name}: {option}: {why}",
                    hint=f"relative names are relative to {to}",
                )


async def _read_list(name: str) -> list[Target]:
    path = Path(name)
    try:
        data = await read_given_file(_STANDARD_INPUT if _is_standard_input(path) else path)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"the list {name} cannot be read: {reason(error)}",
            hint="a list is a text file of targets, one a line, such as: pi = .#pi",
        ) from error
    return _targets_of(decode_list(data, name), path)


def _targets_of(text: str, path: Path) -> list[Target]:
    read = parse_list(
        text, file=str(path), directory=path.absolute().parent, shipped_edits=shipped_edits()
    )
    _see_files(read, str(path))
    return [replace(each, list_file=list_name(path)) for each in read]


def _is_standard_input(path: Path) -> bool:
    """Whether a list is to be read from standard input; a file called - is named in full."""
    return str(path) == "-"


def _read_level(text: str) -> Level:
    try:
        return Level[text.upper()]
    except KeyError:
        raise RequestError(
            f"unknown level {text!r}", hint=f"the levels are {', '.join(Level.names())}"
        ) from None
