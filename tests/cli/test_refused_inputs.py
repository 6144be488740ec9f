"""Whatever the system refuses of whatever a user names: one message with its name, an exit code.

The commands and their options are the program's own (typer's tree), so that none is forgotten: one
that is new fails here until it is said what it takes.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from rig.forked import Ended, Forking, somebody

from mirror.cli.app import leaves
from mirror.formats.signing import SecretKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mirror.nix.command import Nix

LONG: Final = "n" * 300
HUGE: Final = "x" * 200_000
CODES: Final = {0, 1, 2, 3}
LONGEST: Final = 20_000
TARGET: Final = ("there is no", "no generation of x", "no binary cache in cache")
NEVER_SAID: Final = ("Traceback", "ExceptionGroup", "bug in prefetch", "not enough memory")
FILE, DIRECTORY, NEW, STORE, TEXT = "file", "directory", "new", "store", "text"
TAKES: Final = {
    "LIST": FILE,
    "--list": FILE,
    "--signing-key": FILE,
    "--valid-paths": FILE,
    "key show FILE": FILE,
    "--to": DIRECTORY,
    "DIR": DIRECTORY,
    "key generate FILE": NEW,
    "--keep DIR": NEW,
    "--store": STORE,
    "--substituter": TEXT,
    "--trusted-key": TEXT,
    "--level": TEXT,
    "--only": TEXT,
    "--edits": TEXT,
    "--limit-rate": TEXT,
    "--evaluator-memory": TEXT,
    "--on-change": TEXT,
    "--listen": TEXT,
    "--keep-within": TEXT,
    "--max-size": TEXT,
    "--grace": TEXT,
    "--format": TEXT,
    "--title": TEXT,
    "TARGET": TEXT,
    "NUMBER": TEXT,
    "PATH": TEXT,
    "URL": DIRECTORY,
    "INSTALLABLE": TEXT,
    "NAME": TEXT,
    "COMMAND": TEXT,
}
"""What each option or argument with a value takes, numbers apart."""


@dataclass(frozen=True)
class Input:
    """An option or argument of a command, and the rest of a command line that is in order."""

    command: tuple[str, ...]
    parameter: str
    takes: str

    def line(self, value: str) -> list[str]:
        given = {**NEEDED[self.command], self.parameter: value}
        if self.command in {("verify",), ("serve",)} and self.parameter == "--to":
            del given["DIR"]  # it is the same
        if self.parameter == "--title":
            given["DIR"] = "absent"  # with a cache, it would be served under any title
        options = [f"{name}={each}" for name, each in given.items() if name.startswith("--")]
        arguments = [each for name, each in given.items() if not name.startswith("--")]
        return [*self.command, *options, "--", *arguments]


LISTS: Final = {"LIST": "good.txt", "--to": "cache", "--store": "local?root=store"}
NEEDED: Final[Mapping[tuple[str, ...], Mapping[str, str]]] = {
    ("plan",): LISTS,
    ("sync",): LISTS,
    ("check",): LISTS,
    ("rehearse",): LISTS,
    ("why",): {
        "TARGET": "./nothing.nix#a",
        "PATH": "a",
        "--to": "cache",
        "--store": "local?root=store",
    },
    ("export",): {"LIST": "good.txt", "--store": "local?root=store"},
    ("roots",): {"--to": "cache"},
    ("diff",): {
        "TARGET": "x",
        "--to": "cache",
        "--list": "good.txt",
        "--store": "local?root=store",
    },
    ("probe",): {"URL": "cache", "--store": "local?root=store"},
    ("serve",): {"DIR": "cache"},
    ("verify",): {"DIR": "cache"},
    ("prune",): {"--to": "cache"},
    ("sign",): {"--to": "cache", "--signing-key": "key"},
    ("key", "generate"): {"NAME": "a-1", "FILE": "new-key"},
    ("key", "show"): {"FILE": "key"},
    ("schema",): {},
    ("man",): {},
    ("config",): {},
    ("demo",): {},
}
"""What is given to each command unless it is what is tried."""


def inputs() -> Iterator[Input]:
    """Every option and argument with a value that is not a number."""
    for words, command in leaves():
        name = f"prefetch {' '.join(words)}"
        assert words in NEEDED, f"say in NEEDED what `{name}` needs"
        for parameter in command.params:
            if parameter.type_descriptor.annotation in {bool, int}:
                continue
            is_option = parameter.param_type_name == "option"
            label = max(parameter.opts, key=len) if is_option else parameter.metavar
            keys = (f"{' '.join(words)} {label}", f"{label} {parameter.metavar}", label)
            takes = next((TAKES[key] for key in keys if key in TAKES), None)
            assert takes, f"say in TAKES what `{name}` takes as {label}"
            yield Input(words, label, takes)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory of an ordinary user's, in which there is all that can be refused."""
    user = somebody()
    directory = Path(tempfile.mkdtemp(prefix="prefetch-test-"))
    make_all(directory)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    (directory / "hidden").chmod(0)
    (directory / "locked").chmod(0)
    yield directory
    subprocess.run(["chmod", "-R", "u+rwX", directory], check=True)
    subprocess.run(["rm", "-rf", directory], check=True)


def make_all(directory: Path) -> None:
    for name in ("home", "locked", "a-directory", "cache"):
        (directory / name).mkdir()
    (directory / "cache/nix-cache-info").write_text("StoreDir: /nix/store\n")
    (directory / "good.txt").write_text("x = ./nothing.nix#a\n")
    (directory / "key").write_text(f"{SecretKey.generate('mirror-1')}\n")
    (directory / "hidden").write_text("x")
    (directory / "locked/inside").write_text("x")
    (directory / "empty").touch()
    (directory / "binary").write_bytes(b"\xff\xfe\x00\x80\n")
    (directory / "nul").write_bytes(b"x = ./a\0b#c\n")
    (directory / os.fsdecode(b"not-\xff-utf8")).touch()
    (directory / "loop").symlink_to("loop")
    (directory / "dangling").symlink_to("nowhere")
    (directory / "huge").touch()
    os.truncate(directory / "huge", 1 << 40)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(directory / "socket"))


REFUSED: Final = {
    "ENOENT": "missing/file",
    "EACCES": "hidden",
    "EACCES-search": "locked/inside",
    "ENAMETOOLONG": LONG,
    "ENAMETOOLONG-path": f"{'d/' * 3000}x",
    "ELOOP": "loop",
    "ENOTDIR": "good.txt/inside",
    "dangling": "dangling/inside",
    "E2BIG": HUGE,
}
"""What nobody can open, to read or to write."""
UNREADABLE: Final = {
    **REFUSED,
    "EISDIR": "a-directory",
    "EIO": "/proc/self/mem",
    "device": "/dev/zero",
    "socket": "socket",
    "empty": "empty",
    "binary": "binary",
    "nul": "nul",
    "name": os.fsdecode(b"not-\xff-utf8"),
    "huge": "huge",
    "dangling-link": "dangling",
}
TEXTS: Final = {
    "E2BIG": HUGE,
    "empty": "",
    "control": os.fsdecode(b"a\x1b[31mb \xff"),
}
THINGS: Final = {
    FILE: UNREADABLE,
    DIRECTORY: {**REFUSED, "file": "hidden", "name": "locked"},
    NEW: REFUSED,
    STORE: {
        name: f"local?root={REFUSED[name]}"
        for name in ("EACCES-search", "ENAMETOOLONG", "ELOOP", "ENOTDIR", "E2BIG")
    },
    TEXT: TEXTS,
}


@pytest.fixture(scope="module")
def program(nix_stable: Nix, place: Path) -> Iterator[Callable[[list[str]], Ended]]:
    home = place / "home"
    environment = {
        **nix_stable.environment,
        "HOME": str(home),
        "TMPDIR": str(home),
        **{f"XDG_{kind}_HOME": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA", "STATE")},
    }
    with Forking.start(somebody()) as forking:
        yield functools.partial(forking.run, directory=place, environment=environment)


def complaint(ended: Ended, name: str) -> str | None:
    """What is wrong with how a run ended; None if nothing is."""
    said = ended.stderr + ended.stdout
    if ended.code == 0 and "Traceback" not in said:
        return None
    is_usage = said.startswith("Usage:")
    errors = [line for line in ended.stderr.splitlines() if line.lower().startswith("error")]
    faults = [word for word in NEVER_SAID if word in said]
    if ended.code not in CODES:
        faults.append("no documented exit code")
    if len(errors) > 1 or (not errors and ended.code > 1 and not is_usage):
        faults.append("not one message")
    if len(said) > LONGEST and not is_usage:
        faults.append("too long a message")
    # Where it is of no matter, the target itself is what is wrong.
    if name not in said and not (ended.code == 1 and any(each in said for each in TARGET)):
        faults.append(f"no {name!r}")
    return f"exit {ended.code}, {', '.join(faults)}: {said[-1500:]}" if faults else None


def told(value: str) -> str:
    """The beginning of a name, as a message has it."""
    text = value.removeprefix("local?root=").encode(errors="replace").decode().partition("?")[0]
    return (text if text.startswith("/") else text.partition("/")[0])[:40]


COMMANDS: Final = sorted({each.command for each in inputs()})


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_the_system_refuses_is_one_message_of_every_input(
    command: tuple[str, ...], program: Callable[[list[str]], Ended]
) -> None:
    wrong = []
    for each in inputs():
        if each.command != command:
            continue
        for kind, value in THINGS[each.takes].items():
            if command == ("demo",) and kind == "ENOENT":
                continue  # it is made there
            ended = program(each.line(value))
            if problem := complaint(ended, "" if each.takes == TEXT else told(value)):
                wrong.append(f"{' '.join(command)} {each.parameter} ({kind}): {problem}")
    assert not wrong, "\n\n".join(wrong)


GOOD: Final = """
{ a = derivation { name = "good"; builder = "/bin/sh"; system = builtins.currentSystem; }; }
"""
LINES: Final = {
    "flake": "{}#a",
    "file": "{}.nix",
    "attribute": "{}.nix#a",
    "path": "./{}",
    "derivation": "{}.drv",
    "flake-path": "path:{}#a",
}
"""Ways of a list to name a target."""


def test_a_target_that_cannot_be_read_stops_no_other(
    program: Callable[[list[str]], Ended], place: Path
) -> None:
    (place / "good.nix").write_text(GOOD)
    names, lines = [], ["good = ./good.nix#a level=runtime"]
    for kind, value in {**REFUSED, "EISDIR": "a-directory", "device": "/dev/zero"}.items():
        for way, line in LINES.items():
            name = f"{way}-{kind}"
            text = value if value.startswith("/") else f"./{value}"
            names.append(name)
            lines.append(f"{name} = {line.format(text.removesuffix('.nix'))}")
    (place / "targets.txt").write_text("\n".join(lines) + "\n")
    ended = program(["plan", "targets.txt", "--to=cache", "--store=local?root=store"])
    assert ended.code == 1, ended.stderr
    for word in NEVER_SAID:
        assert word not in ended.stderr
    said = re.findall(r"^error: ([a-z-]+-[A-Za-z0-9-]+)\b", ended.stderr, flags=re.MULTILINE)
    assert sorted(said) == sorted(names), ended.stderr
    assert "good" in ended.stdout
