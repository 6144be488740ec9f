"""The manual page, prefetch(1), made of the commands and options that typer reads.

It is written in the ``man`` macros of roff, as groff_man(7) describes them. What ``--help`` does
not have stands here: exit codes, the environment, files. Text between backquotes is bold.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Final

import typer

from mirror.cli import commands
from mirror.cli.app import PROGRAM, leaves
from mirror.cli.parameters import Parameter, arguments, options, usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

EXIT_CODES: Final = {
    "0": "Everything that was asked for is there, and nothing of it was refused.",
    "1": "Some of it is not there, or was refused. Each path is named, with the sources that were "
    "tried. Also if the command of `--on-change` failed.",
    "2": "The request cannot be understood: an option, a list, a line of a list, or a key.",
    "3": "A destination or a tool cannot be used: no space, no permission, no memory, no Nix, or "
    "another run holds the destination. Also for a bug in prefetch, which the message says.",
    "130": "Interrupted. Nothing incomplete is visible, and the next run continues.",
}
ENVIRONMENT: Final = {
    "PREFETCH_LIST": "The lists or targets to take where none is named, with spaces between them.",
    "PREFETCH_TO": "The destination, if --to is not given. Each option with a value has a variable "
    "that is named like this one. What can be repeated has spaces between its values.",
    "PREFETCH_SYNC_TO": "The same for `prefetch sync` alone. Each command has such variables; "
    "they come first.",
    "PREFETCH_SYNC_QUIET": "If this is 1, --quiet holds for `prefetch sync`. Flags have variables "
    "of this kind only.",
    "PREFETCH_DEMO_KEEP": "As --keep of `prefetch demo`, which has no other variable.",
    "PREFETCH_CONFIG": "A configuration file to read instead of those below; if it is empty, none.",
    "PREFETCH_TRACEBACK": "If this is 1, a bug in prefetch is reported with its traceback.",
    "PREFETCH_DESTINATION": "Set for the command of `--on-change`: the destination.",
    "PREFETCH_TARGETS": "Set for the command of `--on-change`: the targets of which something new "
    "was kept, separated by spaces.",
    "PREFETCH_RESULT": "Set for the command of `--on-change`: `complete` or `incomplete`.",
    "NO_COLOR": "If this is set, errors are not coloured.",
    "PATH": "Where nix and git are looked for.",
    "HOME, XDG_CACHE_HOME, XDG_CONFIG_HOME, XDG_STATE_HOME": "Where prefetch and Nix "
    "keep files of their own: see below.",
    "NIX_*": "As Nix uses them: NIX_CONFIG, NIX_REMOTE, NIX_PATH and others.",
    "http_proxy, https_proxy, all_proxy, no_proxy": "Proxies for downloads, as curl reads them.",
    "NIX_SSL_CERT_FILE, SSL_CERT_FILE, SSL_CERT_DIR": "Certificate authorities to trust, unless "
    "Nix's `ssl-cert-file` names some.",
    "TMPDIR": "Where temporary files are put.",
    "LISTEN_FDS, LISTEN_PID, NOTIFY_SOCKET": "How systemd hands over sockets to `prefetch serve`, "
    "and is told that it is ready.",
}
FILES: Final = {
    "DEST/nix-cache-info, DEST/*.narinfo, DEST/nar/": "A cache directory: what clients read.",
    "DEST/generations/, DEST/receipts/, DEST/runs/": "Manifests of generations, and the results of "
    "the last rehearsals and runs.",
    "DEST/public-keys": "The keys that signed what was made here.",
    "DEST/.prefetch/": "What clients are not given: locks, checksums, files being written, "
    "pruned paths that a server still serves (`retired/`), and quarantined files (`damaged/`).",
    "/nix/var/nix/gcroots/prefetch/": "The generations of a Nix store, which protect their paths "
    "from garbage collection, where the user may write there.",
    "$XDG_CONFIG_HOME/prefetch/config.toml, /etc/prefetch/config.toml": "Options that hold where "
    'they are not given, in TOML: `to = "/srv/cache"`, and those of one command below a line such '
    "as `[sync]`. What the first says comes before what the second says; see `prefetch config`.",
    "$XDG_CACHE_HOME/prefetch/": "What binary caches answered, and what flakes "
    "were evaluated to. It can be deleted.",
    "$XDG_STATE_HOME/prefetch/": "The same generations otherwise; and of each Nix store the "
    "results of the last rehearsals and runs, and locks. Also notes of `--refresh`, by which the "
    "next run undoes an update that was interrupted.",
}
EXAMPLES: Final = {
    "prefetch sync hosts.txt --to /srv/cache": "Fetch what the hosts on a list need into a binary "
    "cache directory.",
    "prefetch check hosts.txt --to /srv/cache": "Tell whether each host can now be rebuilt from it "
    "without a network.",
    "prefetch serve /srv/cache --listen :8080": "Serve it to the local network.",
}


def lines(version: str) -> Iterator[str]:
    """The manual page of a version of prefetch, line by line."""
    context = typer.Context(PROGRAM)
    about = PROGRAM.help or ""
    yield f'.TH PREFETCH 1 "" "prefetch {escaped(version)}" "User Commands"'
    yield from _section("NAME", [rf"prefetch \- {_as_part(about)}"])
    yield from _section("SYNOPSIS", [r"\fBprefetch\fR [OPTIONS] COMMAND [ARGS]..."])
    yield from _section("DESCRIPTION", _paragraphs(about))
    yield from _entries(_bold(commands.SUMMARIES))
    yield from _section("OPTIONS", _parameters(options(PROGRAM, context)))
    yield from _section("COMMANDS", _commands())
    yield from _section("EXIT STATUS", _entries(_bold(EXIT_CODES)))
    yield from _section("ENVIRONMENT", _entries(_bold(ENVIRONMENT)))
    yield from _section("FILES", _entries(_bold(FILES)))
    yield from _section("EXAMPLES", _entries(_bold(EXAMPLES)))
    yield from _section("SEE ALSO", [r"\fBnix\fR(1), \fBnix.conf\fR(5), \fBnix\-store\fR(1)"])


def escaped(text: str) -> str:
    """Text in which every character is printed as it is."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    return "".join(each if each.isascii() else rf"\[u{ord(each):04X}]" for each in text)


def _filled(text: str) -> Iterator[str]:
    """A paragraph, as lines of a source file."""
    for line in textwrap.wrap(_text(text), 79, break_long_words=False, break_on_hyphens=False):
        yield rf"\&{line}" if line.startswith(".") else line


def _text(text: str) -> str:
    """A paragraph on one line, with what is between backquotes in bold."""
    parts = re.split("`([^`]*)`", " ".join(text.split()))
    return "".join(
        rf"\fB{escaped(part)}\fR" if place % 2 else escaped(part)
        for place, part in enumerate(parts)
        if part
    )


def _as_part(text: str) -> str:
    """The first line of a text, as it stands after a name."""
    line = text.partition("\n")[0]
    return _text(line[:1].lower() + line[1:].removesuffix("."))


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        yield from [".PP"] if number else []
        yield from _filled(paragraph)


def _section(title: str, body: Iterable[str]) -> Iterator[str]:
    yield f".SH {title}"
    yield from body


def _commands() -> Iterator[str]:
    for words, command in leaves():
        name = " ".join(("prefetch", *words))
        yield f'.SS "{escaped(f"{name} [OPTIONS] {usage(command)}".rstrip())}"'
        yield from _paragraphs(command.help)
        yield from _parameters(arguments(command))
        yield from _parameters(options(command, typer.Context(command)))


def _parameters(parameters: Iterable[Parameter]) -> Iterator[str]:
    group = ""
    for each in parameters:
        if each.group != group:
            group = each.group
            yield from (".PP", rf"\fI{escaped(group)}\fR")
        names = ", ".join(rf"\fB{escaped(name)}\fR" for name in each.names)
        yield from (".TP", names + (rf" \fI{escaped(each.value)}\fR" if each.value else ""))
        yield from _filled(each.about)


def _bold(entries: Mapping[str, str]) -> dict[str, str]:
    return {f"`{term}`": about for term, about in entries.items()}


def _entries(entries: Mapping[str, str]) -> Iterator[str]:
    for term, about in entries.items():
        yield from (".TP", _text(term))
        yield from _filled(about)
