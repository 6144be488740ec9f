"""What a command was asked, as it was typed, and what it means: targets, options."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.errors import ListError, RequestError, printable
from mirror.planning.lists.list_file import decode_list, parse_list
from mirror.planning.lists.targets import FileInstallable, Level
from mirror.shipped import shipped_edits
from mirror.system.plain_files import (
    read_given_file,
    reason,
    why_unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.planning.lists.targets import Target
    from mirror.sync.workshop import WorkshopOptions

_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(?:i?[bB])?(?:/s)?")
_FACTORS: Final = {"": 1, "k": 1000, "m": 1000_000, "g": 1000_000_000}
_STANDARD_INPUT: Final = Path("/dev/stdin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a command was asked, as it was typed."""

    lists: tuple[Path, ...]
    to: str | None
    level: str | None = None
    store: str | None = None
    substituters: tuple[str, ...] | None = None
    trusted_keys: tuple[str, ...] | None = None
    builder: bool = True
    archives: bool = True
    limit_rate: str | None = None
    signing_key: Path | None = None
    allow_refused: bool = False

    @property
    def mending(self) -> str:
        """The command that brings what is missing."""
        words = ["prefetch", "sync", *map(str, self.lists), *(("--to", self.to) if self.to else ())]
        return shlex.join(words)

    @property
    def list_names(self) -> tuple[str, ...]:
        """What the lists are known by from one run to the next, of those that have such a name."""
        return tuple(name for each in self.lists if (name := list_name(each)) is not None)

    def workshop_options(self) -> WorkshopOptions:
        """Where paths may be obtained, and how.

        Raises:
            RequestError: the rate cannot be read.

        """
        # What serves or prunes asks no network, and starts without what it takes.
        from mirror.sync.workshop import WorkshopOptions  # noqa: PLC0415 - start-up time

        return WorkshopOptions(
            store=self.store,
            substituters=self.substituters,
            trusted_keys=self.trusted_keys,
            builder=self.builder,
            archives=self.archives,
            limit_rate=_read_rate(self.limit_rate) if self.limit_rate else None,
            allow_refused=self.allow_refused,
        )


async def read_lists(request: Request) -> list[Target]:
    """Read the lists; names are unique over all of them.

    Raises:
        RequestError: a list cannot be read, or a line of it.

    """
    targets: list[Target] = []
    for path in request.lists:
        data = await _read_list(path)
        text = decode_list(data, str(path))
        read = parse_list(
            text,
            file=str(path),
            directory=path.absolute().parent,
            shipped_edits=shipped_edits(),
        )
        _see_files(read, str(path))
        targets += [replace(each, list_file=list_name(path)) for each in read]
    if not targets:
        raise RequestError(
            f"no target in {', '.join(map(str, request.lists))}",
            hint="add a line such as: pi = .#pi",
        )
    names: set[str] = set()
    for target in targets:
        if target.name in names:
            raise RequestError(
                f"two lists have a target called {target.name}", hint="rename one of them"
            )
        names.add(target.name)
    if request.level is None:
        return targets
    level = _read_level(request.level)
    return [replace(target, level=level) for target in targets]


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
        if len(name.splitlines()) > 1:
            raise RequestError(f"not one target: {name!r}", hint="a target is one line of a list")
        try:
            (target,) = parse_list(
                f"target = {name}",
                file="TARGET",
                directory=Path.cwd(),
                shipped_edits=shipped_edits(),
            )
        except ListError as error:
            raise RequestError(
                error.problem,
                hint=f"name its list (--list LIST), or write it as in a list: {error.hint}",
            ) from error
        return replace(target, name=target.installable_text)
    targets = {each.name: each for each in await read_lists(request)}
    if name not in targets:
        lists = ", ".join(str(file) for file in request.lists)
        raise RequestError(
            f"{lists} has no target called {name}", hint=f"it has: {', '.join(targets)}"
        )
    return targets[name]


def _see_files(targets: Iterable[Target], file: str) -> None:
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
                    hint="relative names are relative to the list",
                )


async def _read_list(path: Path) -> bytes:
    try:
        return await read_given_file(_STANDARD_INPUT if _is_standard_input(path) else path)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"the list {path} cannot be read: {reason(error)}",
            hint="a list is a text file of targets, one a line, such as: pi = .#pi",
        ) from error


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


def _read_rate(text: str) -> int:
    found = _RATE.fullmatch(text.strip())
    rate = int(float(found[1]) * _FACTORS[found[2].lower()]) if found else 0
    if rate <= 0:
        raise RequestError(
            f"not a rate: {text!r}", hint="give bytes per second, such as 500k or 2M"
        )
    return rate
