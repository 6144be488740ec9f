"""What ``--help`` says: of the program, of each command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mirror.cli import commands
from mirror.cli.app import leaves

LEAVES = dict(leaves())


def helped(*words: str) -> list[str]:
    """The lines of a help page, in a terminal of 80 columns."""
    ran = subprocess.run(
        [sys.executable, "-m", "mirror", *words, "--help"],
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.splitlines()


def test_each_command_has_one_line() -> None:
    lines = helped()
    shown = lines[lines.index("Commands:") + 1 :]
    assert [tuple(line.split(maxsplit=1)) for line in shown] == [*commands.SUMMARIES.items()]
    assert max(map(len, lines)) <= 80


def test_a_summary_is_what_the_command_says_of_itself_first() -> None:
    for words, command in LEAVES.items():
        summary, *more = command.help.splitlines()
        assert len(words) > 1 or summary == commands.SUMMARIES[words[0]]
        assert not more or not more[0]


@pytest.mark.parametrize("words", [("key", "generate"), ("sync",)], ids=" ".join)
def test_all_that_a_command_takes_is_explained(words: tuple[str, ...]) -> None:
    text = " ".join(" ".join(helped(*words)).split())
    for parameter in LEAVES[words].params:
        # A word with a hyphen may be on two lines.
        assert parameter.help.replace("- ", "-") in text.replace("- ", "-"), parameter.name
        for name in parameter.opts:
            if parameter.param_type_name == "option":
                assert f" {name}" in text


def test_every_value_has_a_name() -> None:
    for words, command in LEAVES.items():
        for parameter in command.params:
            is_flag = getattr(parameter, "is_flag", False)
            assert parameter.help, (words, parameter.name)
            assert is_flag or parameter.metavar, (words, parameter.name)


def test_it_is_had_by_one_letter() -> None:
    for words in ((), ("plan",), ("key", "show")):
        ran = subprocess.run(
            [sys.executable, "-m", "mirror", *words, "-h"],
            env={**os.environ, "COLUMNS": "80"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.splitlines() == helped(*words)
