"""``export`` as a person meets it; that its paths suffice is shown in tests/sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rig.shell import Shell


def test_closure_info_is_a_list_of_verified_names_and_store_paths(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    printed = shell.run(shell.arguments("export", "hosts.txt", "--format", "closure-info")).stdout
    lines = printed.splitlines()
    assert lines[:2] == ["# what laptop is rebuilt from without a network", "pkgs: ["]
    assert "  pkgs.make-etc" in lines
    assert any(line.endswith("-banner.sh) # banner.sh") for line in lines)
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
