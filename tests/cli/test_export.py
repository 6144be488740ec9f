"""``export`` as a person meets it; that its paths suffice is shown in tests/sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rig.shell import Shell


def test_closure_info_is_a_list_of_verified_names_and_store_paths(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    printed = shell.run(shell.arguments("export", "hosts.txt", "--format", "closure-info")).stdout
    lines = printed.splitlines()
    assert lines[0].startswith("# paste behind `rootPaths =` of closureInfo")
    assert lines[1].endswith("to rebuild laptop without a network")
    assert lines[2].startswith("# pkgs is the package set of laptop: ")
    assert "  pkgs.make-etc" in lines
    assert "  pkgs.printer-driver.src" in lines, printed
    assert any(line.endswith('-banner.sh") # banner.sh') for line in lines)
    assert lines[-1] == "]"


def test_paths_are_the_default_sorted_and_each_once(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    lines = shell.run(shell.arguments("export", "hosts.txt")).stdout.splitlines()
    assert lines == sorted(set(lines))
    assert any(line.endswith("-gettext-0.21") for line in lines)
    assert not any(line.endswith(".drv") for line in lines)


def test_an_unknown_format_is_an_error_of_the_request(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    shell.run(shell.arguments("export", "hosts.txt", "--format", "svg"), expect=2)


def test_several_targets_are_exported_together_with_the_names_of_the_first(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop", "pi = DEMO#pi", "gone = DEMO#no-such-host")
    export = [*shell.arguments("export", "hosts.txt"), "--format"]
    listed = shell.run([*export, "closure-info"], expect=1)
    assert "no-such-host" in listed.stderr
    lines = listed.stdout.splitlines()
    assert lines[1].endswith("to rebuild laptop, pi without a network")
    assert lines.count("  pkgs.make-etc") == 1
    assert any(line.endswith('-make-etc-1.0") # make-etc') for line in lines), "of the other system"
    graph = shell.run([*export, "dot"], expect=1).stdout
    paths = shell.run([*export, "paths"], expect=1).stdout.splitlines()
    for path in paths:
        assert graph.count(f'"{path}" [label=') == 1


def test_nothing_is_printed_where_nothing_could_be_evaluated(shell: Shell) -> None:
    shell.write_list("gone = DEMO#no-such-host")
    export = shell.arguments("export", "hosts.txt", "--format", "closure-info")
    assert shell.run(export, expect=1).stdout == ""
