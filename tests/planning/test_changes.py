"""What changed between two sets of paths."""

from __future__ import annotations

from itertools import count
from typing import Final

from mirror.formats.base32 import ALPHABET
from mirror.formats.store_path import StorePath
from mirror.planning.changes import changes

_NUMBERS: Final = count()


def made(name: str) -> StorePath:
    """A path of this name that no other has."""
    number = next(_NUMBERS)
    digits = "".join(ALPHABET[number // 32**place % 32] for place in range(3))
    return StorePath.parse(f"/nix/store/{digits:0<32}-{name}")


def told(before: list[StorePath], after: list[StorePath]) -> list[str]:
    return [str(each) for each in changes(before, after).packages]


def test_packages_are_told_by_name_and_version() -> None:
    kept = made("bash-5.2")
    before = [kept, made("openssh-10.1p1"), made("openssh-10.1p1-dev"), made("less-661")]
    after = [kept, made("openssh-10.2p1"), made("openssh-10.2p1.tar.gz"), made("debugger-13.2")]
    assert told(before, after) == [
        "+debugger 13.2",
        "-less 661",
        "openssh 10.1p1 → 10.2p1",
    ]


def test_a_source_is_of_its_package() -> None:
    for name in ("less-661.tar.gz", "less-661.tgz", "less-661.zip", "less-661.tar", "less-661.xz"):
        assert told([], [made(name)]) == ["+less 661"]
    assert told([], [made("foo-1.jar-tools")]) == ["+foo 1.jar"]


def test_several_versions_are_in_order() -> None:
    before = [made("zlib-1.10"), made("zlib-1.9")]
    assert told(before, [*before, made("zlib-1.2")]) == ["zlib 1.9, 1.10 → 1.2, 1.9, 1.10"]


def test_what_has_no_version_is_its_name() -> None:
    assert told([], [made("hosts")]) == ["+hosts"]
    assert told([made("tool")], [made("tool"), made("tool-1")]) == ["tool → (no version), 1"]


def test_what_keeps_its_name_was_rebuilt_and_derivations_do_not_count() -> None:
    kept = made("bash-5.2")
    before = [kept, made("system-path"), made("gone"), made("system-path.drv")]
    after = [kept, made("system-path"), made("new"), made("system-path.drv"), made("x.drv")]
    found = changes(before, after)
    assert found.rebuilt == 1
    assert [path.name for path in found.added] == ["system-path", "new"]
    assert [path.name for path in found.removed] == ["system-path", "gone"]
    assert told(before, after) == ["-gone", "+new"]
    assert changes(after, after) == changes([], [])
