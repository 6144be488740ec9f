"""The list: what every kind of line means, and where each mistake is said to be."""

from __future__ import annotations

import codecs
import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.errors import ListError
from mirror.planning.lists.list_file import OPTIONS, decode_list, parse_list
from mirror.planning.lists.targets import (
    Edit,
    FileInstallable,
    FlakeInstallable,
    Installable,
    Level,
    PathInstallable,
    Target,
    split_attribute_path,
)
from mirror.shipped import lists_directory, shipped_edits

DIRECTORY = Path("/etc/hosts-of-mine")
SHIPPED = lists_directory()
SHIPPED_EDITS = {name: Path(f"/edits/{name}.nix") for name in ("hosts", "package", "wifi")}
DERIVATION = "/nix/store/7rjqb838snvvxcmpvck1smfxhkwzqal5-nixos-system-pi.drv"


def parse(text: str) -> list[Target]:
    return parse_list(text, file="hosts.txt", directory=DIRECTORY, shipped_edits=SHIPPED_EDITS)


def one(text: str) -> Target:
    (target,) = parse(text)
    return target


def failure(text: str) -> ListError:
    with pytest.raises(ListError) as caught:
        parse(text)
    return caught.value


def test_a_whole_list() -> None:
    text = (
        "# the hosts\r\n"
        "\r\n"
        "pi\t=\t.#pi  level=sources # and why\r\n"
        "laptop = /etc/nixos/configuration.nix sources=linux,neovim full=dnsmasq\r\n"
        "image=./image.nix#toplevel args=./image-args.nix\r\n"
        "nixpkgs#ripgrep level=runtime"
    )
    assert parse(text) == [
        Target(
            name="pi",
            installable=FlakeInstallable("/etc/hosts-of-mine", "pi"),
            installable_text=".#pi",
            level=Level.SOURCES,
        ),
        Target(
            name="laptop",
            installable=FileInstallable(Path("/etc/nixos/configuration.nix"), None),
            installable_text="/etc/nixos/configuration.nix",
            raised=(("linux", Level.SOURCES), ("neovim", Level.SOURCES), ("dnsmasq", Level.FULL)),
        ),
        Target(
            name="image",
            installable=FileInstallable(
                DIRECTORY / "image.nix", "toplevel", DIRECTORY / "image-args.nix"
            ),
            installable_text="./image.nix#toplevel",
        ),
        Target(
            name="ripgrep",
            installable=FlakeInstallable("nixpkgs", "ripgrep"),
            installable_text="nixpkgs#ripgrep",
            level=Level.RUNTIME,
        ),
    ]


@pytest.mark.parametrize(
    ("text", "installable", "name"),
    [
        (".#pi", FlakeInstallable("/etc/hosts-of-mine", "pi"), "pi"),
        ("..#pi", FlakeInstallable("/etc/hosts-of-mine/..", "pi"), "pi"),
        ("./a?dir=b#pi", FlakeInstallable("/etc/hosts-of-mine/a?dir=b", "pi"), "pi"),
        ("path:./a#pi", FlakeInstallable("path:/etc/hosts-of-mine/a", "pi"), "pi"),
        ("path:/a#pi", FlakeInstallable("path:/a", "pi"), "pi"),
        ("git+file:.#pi", FlakeInstallable("git+file:///etc/hosts-of-mine", "pi"), "pi"),
        ("git+file:///a#pi", FlakeInstallable("git+file:///a", "pi"), "pi"),
        ("github:a/b/c.nix#x", FlakeInstallable("github:a/b/c.nix", "x"), "x"),
        ("git+https://a/b?ref=m#x.y", FlakeInstallable("git+https://a/b?ref=m", "x.y"), "y"),
        ("""'.#p."b.c"'""", FlakeInstallable("/etc/hosts-of-mine", 'p."b.c"'), "b.c"),
        ('.#"alice@host"', FlakeInstallable("/etc/hosts-of-mine", "alice@host"), "alice@host"),
        ("a.nix", FileInstallable(DIRECTORY / "a.nix", None), "a"),
        ("../a.nix#b.c", FileInstallable(DIRECTORY / "../a.nix", "b.c"), "c"),
        ('"./a b/c.nix#d"', FileInstallable(DIRECTORY / "a b/c.nix", "d"), "d"),
        (DERIVATION, PathInstallable(Path(DERIVATION)), "nixos-system-pi"),
        ("./kept.drv", PathInstallable(DIRECTORY / "kept.drv"), "kept"),
        ("/run/current-system", PathInstallable(Path("/run/current-system")), "current-system"),
        ("./result", PathInstallable(DIRECTORY / "result"), "result"),
        ("~/.result", PathInstallable(Path.home() / ".result"), ""),
    ],
)
def test_each_kind_of_installable_is_recognised(
    text: str, installable: Installable, name: str
) -> None:
    target = one(text if name else f"given = {text}")
    assert target.installable == installable
    assert target.name == (name or "given")


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("a = .#a levle=full", 9, "unknown option 'levle', did you mean 'level'?"),
        ("a = .#a edits=", 15, "edits= has no value"),
        ("a = .#a edits=hosts,,wifi", 21, "edits= lacks a name or file"),
        ("a = .#a edits=hosts,", 21, "edits= lacks a name or file"),
        ("a = .#a edits=hosts,wfi", 21, "unknown edit 'wfi', did you mean 'wifi'?"),
        ("a = .#a edits=wifi:home", 19, "the edit 'wifi' takes no argument"),
        ("a = .#a edits=package", 22, "package: lacks the name of a package"),
        ("a = .#a edits=package:", 23, "package: lacks the name of a package"),
        ("a = .#a edits='package:a b'", 24, "package: lacks the name of a package"),
        ("a = .#a edits=hosts,./b,wifi", 21, "'./b' is not a Nix file"),
        ("a = .#a edits=./.nix", 15, "'./.nix' is not a Nix file"),
        ("a = .#a edits=hosts,./hosts.nix", 21, "two edits are called 'hosts'"),
        ("a = .#a edits=~no-such-user-at-all/a.nix", 15, "the home directory in '~no-such"),
        ("a = ./a.drv edits=hosts", 19, "edits= does not go with a derivation"),
        ("a = /run/current-system edits=./b.nix", 31, "edits= does not go with a derivation"),
        ("a = ./a.nix#b edits=./c.nix,hosts", 29, "'hosts' would be a NixOS module"),
        ("a = .#a budget=", 16, "budget= has no value"),
        ("a = .#a budget=20g", 16, "'20g' is not a budget"),
        ("a = .#a budget=0", 16, "'0' is not a budget"),
        ("a = .#a budget=-1G", 16, "'-1G' is not a budget"),
        ("a = .#a level=ful", 15, "unknown level 'ful', did you mean 'full'?"),
        ("a = .#a level=", 15, "level= has no value"),
        ("a = .#a full=", 14, "full= has no value"),
        ("a = .#a sources=b,,c", 19, "sources= lacks a package name"),
        ("a = .#a sources=b,", 19, "sources= lacks a package name"),
        ("a = .#a sources=b full=c,b", 26, "the package 'b' is named twice"),
        ("a = .#a level=full level=full", 20, "the option 'level' is given twice"),
        ("a = .#a level = full", 9, "'level' is not an option"),
        ("a = .#a .#b", 9, "'.#b' is not an option"),
        ("a = .#a '=x'", 9, "'=x' is not an option"),
        ("a = .#a args=./x", 14, "args= does not go with '.#a'"),
        ("a = b.nix args=./x", 16, "args= does not go with 'b.nix'"),
        ("a =", 4, "there is no installable"),
        ("a = # .#a", 4, "there is no installable"),
        ("a = ''", 5, "the installable is empty"),
        ("a = .", 5, "'.' is not an installable"),
        ("nixpkgs", 1, "'nixpkgs' is not an installable"),
        ("a = github:a/b", 5, "'github:a/b' is not an installable"),
        ("a = .#", 7, "the name is missing"),
        ("a = '#b'", 5, "the flake or file is missing"),
        ("a = .#b..c", 7, "a name is missing in the attribute path"),
        ("a = '.#b.\"c'", 8, "a quote is not closed in the attribute path"),
        ('  a = "b c', 7, "a quote is not closed"),
        ("a/b = .#a", 1, "'a/b' cannot be a target's name"),
        (".. = .#a", 1, "'..' cannot be a target's name"),
        ("= .#a", 1, "'' cannot be a target's name"),
        (".#'a b'", 1, "'a b', from the installable, cannot be the target's name"),
        ("a = b\0c", 6, "the character '\\x00' cannot be in a list"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, column: int, problem: str) -> None:
    error = failure(f"# first\n{text}\n")
    assert (error.line, error.column) == (2, column), error
    assert error.problem.startswith(problem)
    assert error.message.startswith(f"hosts.txt:2:{column}: ")


def test_edits_are_shipped_ones_and_files_of_the_list() -> None:
    target = one("a = .#a edits=hosts,package:python3Packages.requests,./own.nix,b.nix,/c/d.nix")
    assert target.edits == (
        Edit("hosts", Path("/edits/hosts.nix")),
        Edit(
            "package:python3Packages.requests",
            Path("/edits/package.nix"),
            "python3Packages.requests",
        ),
        Edit("own", DIRECTORY / "own.nix"),
        Edit("b", DIRECTORY / "b.nix"),
        Edit("d", Path("/c/d.nix")),
    )
    assert one("configuration.nix edits=wifi").edits == (Edit("wifi", Path("/edits/wifi.nix")),)
    assert one("a.nix#b edits=wifi.nix").edits == (Edit("wifi", DIRECTORY / "wifi.nix"),)
    assert one(".#a").edits == ()


def test_an_unknown_edit_says_which_there_are() -> None:
    hint = failure("a = .#a edits=zzz").hint or ""
    assert "hosts, package:NAME, wifi, or a file of your own" in hint


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 1),
        ("20G", 20 * 1000**3),
        ("1.5k", 1500),
        ("3M", 3 * 1000**2),
        ("2T", 2 * 1000**4),
        ("1Ki", 1024),
        ("0.5Mi", 1024**2 // 2),
        ("7Gi", 7 * 1024**3),
    ],
)
def test_a_budget_is_in_bytes(text: str, amount: int) -> None:
    assert one(f"a = .#a budget={text}").budget == amount
    assert one("a = .#a").budget is None


def test_an_unknown_option_says_which_there_are() -> None:
    hint = failure("a = .#a edit=hosts").hint
    assert hint is not None
    assert all(f"{option}=" in hint for option in OPTIONS)


def test_a_flake_without_a_name_says_what_is_expected() -> None:
    assert "nixpkgs#NAME" in (failure("nixpkgs").hint or "")


def test_two_targets_of_one_name_name_both_lines() -> None:
    error = failure("pi = .#pi\n\nother#pi")
    assert (error.line, error.column) == (3, 1)
    assert "line 1" in error.problem


def test_a_comment_needs_white_space_before_it() -> None:
    assert one("a = .#a#b").installable == FlakeInstallable(str(DIRECTORY), "a#b")
    assert one("a = .#a #b").installable == FlakeInstallable(str(DIRECTORY), "a")
    assert parse("#a = .#a\n  # b\n") == []


def test_a_byte_order_mark_is_not_part_of_the_list() -> None:
    assert parse(decode_list(b"\xef\xbb\xbfa = .#a", "hosts.txt")) == parse("a = .#a")
    assert parse("\ufeffa = .#a") == parse("a = .#a")


def test_bytes_that_are_not_utf_8_are_named_with_their_place() -> None:
    for mark in (b"", b"\xef\xbb\xbf"):
        with pytest.raises(ListError) as caught:
            decode_list(mark + "a = .#a\nü = ".encode() + b"\xff\n", "hosts.txt")
        assert (caught.value.line, caught.value.column) == (2, 5)


def test_the_edits_that_are_shipped_are_these() -> None:
    assert set(shipped_edits()) == {
        *("dnsmasq", "environment-file", "firewall-port", "hostname", "hosts", "nginx-vhost"),
        *("package", "ssh-key", "static-ip", "sysctl", "systemd-service", "timer", "user"),
        *("wifi", "wireguard"),
    }
    assert all(file.is_file() for file in shipped_edits().values())


def test_the_lists_that_are_shipped_can_be_read() -> None:
    shipped = sorted(SHIPPED.glob("*.txt"))
    assert shipped
    for path in shipped:
        assert parse_list(
            decode_list(path.read_bytes(), path.name),
            file=path.name,
            directory=SHIPPED,
            shipped_edits=shipped_edits(),
        )


def test_an_attribute_path_is_split_as_nix_does() -> None:
    assert split_attribute_path('a."b.c".d') == ("a", "b.c", "d")
    assert split_attribute_path('a.""') == ("a", "")


LIST_LIKE = st.text(st.sampled_from("ab.#=,\"'/~ \t\r\n\0\x0b\ufeff") | st.characters())


@given(LIST_LIKE)
@example("~no-such-user-at-all/x")
@example("a = ~no-such-user-at-all#x")
def test_any_text_is_a_list_or_a_list_error(text: str) -> None:
    targets: list[Target] = []
    error: ListError | None = None
    try:
        targets = parse(text)
    except ListError as caught:
        error = caught
    assert len({target.name for target in targets}) == len(targets)
    if error is not None:
        lines = text.removeprefix("\ufeff").split("\n")
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1


@given(st.binary())
def test_any_bytes_are_text_or_a_list_error(data: bytes) -> None:
    with contextlib.suppress(ListError):
        assert decode_list(data, "hosts.txt").encode() == data.removeprefix(codecs.BOM_UTF8)
