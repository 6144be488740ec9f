"""The manual page: readable by roff, and with all that there is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.shell import COMMAND

from mirror import errors
from mirror.cli import INTERRUPTED
from mirror.cli.app import PROGRAM, leaves
from mirror.cli.manual_page import EXIT_CODES, escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
NO_DATE = 'WARNING: missing date, using "": TH'
"""The page has no date, so that it is the same whenever it is made."""

OF_NO_USER = {
    "PREFETCH_COMPLETE",
    *(f"PREFETCH_GIT_{each}" for each in ("TUNNEL", "USER", "PASSWORD")),
}
"""What only a shell sets, and what a process is given that prefetch starts itself."""


@pytest.fixture(scope="module")
def page() -> str:
    return subprocess.run([*COMMAND, "man"], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def shown(page: str) -> str:
    """The page as a reader sees it, in lines that are not filled."""
    page = f".ll 10000n\n.nh\n{page}"
    return formatted(["groff", "-man", "-Tutf8", "-P-cbou", "-rLL=10000n"], page)


def formatted(command: list[str], page: str) -> str:
    done = subprocess.run(command, input=page, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout


def test_groff_reads_it_without_a_warning(page: str) -> None:
    assert not formatted(["groff", "-man", "-ww", "-b", "-z"], page)


def test_mandoc_finds_nothing_wrong_with_it(page: str) -> None:
    linted = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "all"],
        input=page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line.split(": ", 2)[-1] for line in linted.stdout.splitlines()] == [NO_DATE]


def sections(shown: str, indent: int) -> dict[str, str]:
    """The text below each heading that is indented so far."""
    parts = re.split(rf"^ {{{indent}}}(\S.*)$", shown, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_it_has_every_command_with_its_options(shown: str) -> None:
    of_commands = sections(sections(shown, 0)["COMMANDS"], 3)
    missing = set(of_commands)
    for words, command in leaves():
        name = " ".join(("prefetch", *words, "[OPTIONS]"))
        (heading,) = (each for each in of_commands if f"{each} ".startswith(f"{name} "))
        missing.remove(heading)
        text = " ".join(of_commands[heading].split())
        for sentence in (command.help, *(each.help for each in command.params)):
            assert " ".join(sentence.replace("`", "").split()) in text, words
        for parameter in command.params:
            label = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]
            assert re.search(
                rf"^ {{7}}.*{re.escape(label[-1])}\b", of_commands[heading], re.MULTILINE
            )
    assert not missing


def test_it_has_the_options_of_the_program(shown: str) -> None:
    text = sections(shown, 0)["OPTIONS"]
    for parameter in PROGRAM.params:
        assert f"       {parameter.opts[0]}" in text


def kinds(of: type[errors.PrefetchError] = errors.PrefetchError) -> Iterator[int]:
    yield of.exit_code
    for kind in of.__subclasses__():
        yield from kinds(kind)


def test_it_has_every_exit_code(shown: str) -> None:
    assert {*map(int, EXIT_CODES)} == {0, INTERRUPTED, *kinds()}
    text = sections(shown, 0)["EXIT STATUS"]
    for code, about in EXIT_CODES.items():
        assert re.search(rf"^ {{7}}{code} +{re.escape(about[:20])}", text, re.MULTILINE)


def test_it_has_every_variable_of_ours(shown: str) -> None:
    text = sections(shown, 0)["ENVIRONMENT"]
    sources = [file.read_text() for file in (PROJECT / "mirror").rglob("*.py")]
    ours = {name for source in sources for name in re.findall(r"PREFETCH_[A-Z_]+", source)}
    assert ours >= OF_NO_USER
    ours -= OF_NO_USER
    for name in ours:
        assert f"       {name}" in text


def test_every_character_is_printed_as_it_is() -> None:
    text = r"a\b 'c' -d \fBe …é ~^` .f"
    made = f".TH A 1\n.SH NAME\n{escaped(text)}\n"
    assert text in formatted(["groff", "-man", "-ww", "-Tutf8", "-P-cbou"], made)
