"""Transcripts in the documentation: commands as one types them, and what they print.

A block of a page is a transcript if a comment says whose, before it::

    <!-- transcript: train on laptop, offline -->

It names the situation that the block is a part of, the machine, and what else is special about it.
In the block, ``$`` and a space begin a command, and what follows is its output: standard output and
standard error together, as a terminal has them when the command has ended. ``[exit code 1]`` ends
the output of a command that did not succeed; a line ``[…]`` stands for lines that are left out.

What differs from run to run (``VARYING``) is not compared. With ``PREFETCH_TRANSCRIPTS=write`` the
blocks of a situation are written anew if any of them differs otherwise.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WRITE: Final = "PREFETCH_TRANSCRIPTS"
LEFT_OUT: Final = "[…]"
VARYING: Final = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        # Where the sources are is different each time, so are the hashes of derivations.
        (r"\b[0-9a-df-np-sv-z]{32}-", "HASH-"),
        (r":[A-Za-z0-9+/]{43}=", ":KEY"),
        (r"\b\d[\d.]* (B|kB|MB|GB|MiB)\b", "SIZE"),
        (r"\b\d+:\d\d\b", "DURATION"),
        (r"\b\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?\b", "DATE"),
        (r"\bNix \d+\.\d+\.\d+\b", "Nix VERSION"),
        # The bar gives way to the numbers behind it.
        (r"\|█+[▏▎▍▌▋▊▉]?\|", "|BAR|"),
    )
)
"""What is not compared, and what is compared in its place."""

_BLOCK: Final = re.compile(
    r"^<!-- transcript: (?P<situation>[\w-]+) on (?P<machine>[\w-]+)(?P<special>(, [\w ]+)*) -->\n"
    r"\n?```\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that was typed, over several lines perhaps, and the lines that it printed."""

    typed: str
    printed: tuple[str, ...]

    @property
    def code(self) -> int:
        """The exit code that its lines end with."""
        ended = re.fullmatch(r"\[exit code (\d+)\]", self.printed[-1]) if self.printed else None
        return int(ended[1]) if ended else 0

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in (f"$ {self.typed}", *self.printed))

    def matches(self, printed: Sequence[str]) -> bool:
        """Whether the lines are those that stand there, but for what varies and is left out."""
        parts = [
            "".join(re.escape(f"{compared(line)}\n") for line in group)
            for is_left_out, group in itertools.groupby(self.printed, LEFT_OUT.__eq__)
            if not is_left_out
        ]
        anything = r"(?:.*\n)*?"
        pattern = anything.join(parts)
        if self.printed[:1] == (LEFT_OUT,):
            pattern = anything + pattern
        if self.printed[-1:] == (LEFT_OUT,):
            pattern += anything
        return re.fullmatch(pattern, "".join(f"{compared(line)}\n" for line in printed)) is not None

    def renewed(self, typed: str, printed: Sequence[str]) -> Self:
        """The same with what was typed and printed now; the page says which lines are left out."""
        if self.printed.count(LEFT_OUT) == 1:
            first = self.printed.index(LEFT_OUT)
            last = len(self.printed) - first - 1
            if first + last < len(printed):
                printed = (*printed[:first], LEFT_OUT, *printed[len(printed) - last :])
        return type(self)(typed=typed, printed=tuple(printed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A transcript in a page: where it is, and its commands."""

    page: Path
    number: int
    situation: str
    machine: str
    special: frozenset[str]
    commands: tuple[Command, ...]


def blocks(page: Path) -> list[Block]:
    """The transcripts of a page, in order."""
    return [
        Block(
            page=page,
            number=number,
            situation=found["situation"],
            machine=found["machine"],
            special=frozenset(filter(None, found["special"].split(", "))),
            commands=tuple(commands(found["text"])),
        )
        for number, found in enumerate(_BLOCK.finditer(page.read_text()))
    ]


def commands(text: str) -> Iterator[Command]:
    """The commands of a block; a line that ends in a backslash goes on in the next."""
    typed, printed = "", list[str]()
    for line in text.splitlines():
        if typed.endswith("\\") and not printed:
            typed += f"\n{line}"
        elif line.startswith("$ "):
            if typed:
                yield Command(typed=typed, printed=tuple(printed))
            typed, printed = line.removeprefix("$ "), []
        else:
            assert typed, f"a transcript begins with a command, not with {line!r}"
            printed.append(line)
    yield Command(typed=typed, printed=tuple(printed))


def write(block: Block, commands: Sequence[Command]) -> None:
    """Put these commands where the block's are."""
    text = block.page.read_text()
    found = list(_BLOCK.finditer(text))[block.number]
    made = "".join(each.text for each in commands)
    block.page.write_text(text[: found.start("text")] + made + text[found.end("text") :])


def compared(line: str) -> str:
    """A line without what varies."""
    for pattern, instead in VARYING:
        line = pattern.sub(instead, line)
    return line


def shown(written: str) -> list[str]:
    """The lines that stand on a terminal after ``written``, without their colours.

    A terminal is no more than this to what prefetch and Nix write: a line that is written again
    from its beginning, and erased from the cursor on.
    """
    lines = [""]
    column = 0
    for piece in re.findall(r"\x1b\[[\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        match piece:
            case "\n":
                lines.append("")
                column = 0
            case "\r":
                column = 0
            case "\x1b[K":
                lines[-1] = lines[-1][:column]
            case str() if piece.startswith("\x1b"):
                assert piece.endswith("m"), f"no terminal knows {piece!r}"
            case _:
                rest = lines[-1][column + len(piece) :]
                lines[-1] = lines[-1][:column].ljust(column) + piece + rest
                column += len(piece)
    if not lines[-1].strip():
        lines.pop()
    return [line.rstrip() for line in lines]
