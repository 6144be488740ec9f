"""Systems of the demo's distribution, and edits of them, as Hypothesis draws them.

A system is a NixOS module of some definitions, and so is an edit: packages and single outputs of
them, packages of one's own, services, users, files. They are drawn from what the distribution has
in every state: held by its cache, at an origin only, built by the machine itself, needed only where
an option is on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypothesis.strategies import SearchStrategy

Definition = tuple[str, str]
"""An option and its value, as Nix code."""

_PACKAGES: Final = (
    *("atlas", "backup", "calendar", "debugger", "dnsmasq", "editor", "hello", "ledger", "wpa"),
    *("printer-driver", "terminal-data", "libresolve", "compiler"),
    *("hello.man", "openssh.dev", "linux.dev", "libnet.dev", "dnsmasq.man", "printer-driver.man"),
)
_TOOLS: Final = ("compiler", "gettext", "make-wrapper", "hosts-format", "debugger", "wifi-format")
_SOURCES: Final = ("hello.src", "atlas.src", "openssh.src", "wpa.src", "editor.src", "ledger.src")
_FILES: Final = ("wallpaper", "certificates", "zones", "blocklist", "firmware", "microcode")
_NAMES: Final = ("amber", "birch", "cedar", "dogwood")
_USERS: Final = {name: 1000 + number for number, name in enumerate(_NAMES)}
"""Each has a number of its own, whichever module it is in: two with the same cannot be built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnSystem:
    """A system, the edits of it, and what became of them.

    The first ``listed`` of ``edits`` were on the list when it was synced, and what no cache has was
    built then if it ``is_built``. Of what was kept, ``lost`` has gone since: numbers that stand for
    paths. ``kind`` is how the list names it, ``destination`` where it is kept.
    """

    kind: Literal["flake", "file"]
    destination: Literal["store", "cache"]
    options: str
    module: str
    edits: tuple[str, ...]
    listed: int
    is_built: bool
    lost: tuple[int, ...]


def drawn_systems(*, edits: int) -> SearchStrategy[DrawnSystem]:
    """Systems with so many edits each, all of them different."""
    modules = st.lists(_definitions(), min_size=1, max_size=5, unique_by=_option).map(_module)
    numbers = st.lists(st.integers(0, 1000), min_size=1, max_size=2).map(tuple)
    edit = st.lists(_definitions(), min_size=1, max_size=2, unique_by=_option).map(_module)
    return st.builds(
        DrawnSystem,
        kind=st.sampled_from(("flake", "file")),
        destination=st.sampled_from(("store", "store", "cache")),
        options=st.sampled_from(("", "", "", "sources=hello", "full=dnsmasq", "level=sources")),
        module=modules,
        edits=st.lists(edit, min_size=edits, max_size=edits, unique=True).map(tuple),
        listed=st.integers(0, edits // 2),
        is_built=st.sampled_from((False, False, True)),
        lost=st.one_of(st.just(()), st.just(()), numbers),
    )


def _option(definition: Definition) -> str:
    return definition[0]


def _module(definitions: Iterable[Definition]) -> str:
    lines = "".join(f"  {option} = {value};\n" for option, value in definitions)
    return f"{{ pkgs, ... }}: {{\n{lines}}}\n"


def _definitions() -> SearchStrategy[Definition]:
    words = st.text("abcdefgh", min_size=1, max_size=6)
    names = st.sampled_from(_NAMES)
    files = st.sampled_from(_FILES).map("pkgs.files.{}".format)
    made_files = words.map('builtins.toFile "made" "{}"'.format)
    scripts = words.map('{{ script = "echo {}"; }}'.format)
    commands = st.sampled_from(_PACKAGES[:9]).map(
        '{{ serviceConfig.ExecStart = "${{pkgs.{}}}/bin/run"; }}'.format
    )
    packages = st.tuples(st.just("environment.systemPackages"), _package_lists())
    return st.one_of(
        # What is likeliest not to be there.
        *(packages, packages, packages),
        st.tuples(names.map("systemd.services.{}".format), scripts | commands),
        st.tuples(names.map('environment.etc."{}".source'.format), files | made_files),
        st.tuples(names.map('environment.etc."{}.conf".text'.format), words.map('"{}"'.format)),
        st.tuples(names.map("systemd.timers.{}.timerConfig.OnCalendar".format), st.just('"daily"')),
        st.sampled_from(sorted(_USERS.items())).map(
            lambda user: (f"users.users.{user[0]}.uid", str(user[1]))
        ),
        st.tuples(names.map("users.users.{}.hashedPassword".format), words.map('"$6${}"'.format)),
        st.tuples(
            st.just("networking.firewall.allowedTCPPorts"),
            st.integers(1, 65535).map("[ {} ]".format),
        ),
        st.tuples(st.just('networking.hosts."192.0.2.9"'), words.map('[ "{}" ]'.format)),
        st.tuples(st.just("networking.hostName"), words.map('"{}"'.format)),
        st.tuples(st.just("networking.wireless.enable"), st.just("true")),
        st.tuples(st.just("services.dnsmasq.enable"), st.just("true")),
    )


def _package_lists() -> SearchStrategy[str]:
    packages = st.sampled_from(_PACKAGES).map("pkgs.{}".format)
    return st.lists(packages | _own_packages(), min_size=1, max_size=2).map(
        lambda listed: f"[ {' '.join(listed)} ]"
    )


def _own_packages() -> SearchStrategy[str]:
    """Packages that no cache has: with tools, perhaps with the source of another package."""
    tools = st.lists(st.sampled_from(_TOOLS), max_size=2, unique=True)
    sources = st.none() | st.sampled_from(_SOURCES)
    return st.builds(
        lambda name, needed, source: (
            f'(pkgs.stdenv.mkDerivation {{ pname = "{name}"; version = "1"; '
            f"nativeBuildInputs = [ {' '.join(f'pkgs.{tool}' for tool in needed)} ]; "
            + (f"src = pkgs.{source}; " if source else "")
            + f'buildCommand = "mkdir -p $out/bin; echo made > $out/bin/{name}"; }})'
        ),
        st.sampled_from(_NAMES),
        tools,
        sources,
    )
