"""Names of packages and their versions, as both versions of Nix split and compare them."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Final

from rig.running import run

from mirror.formats.package_name import PackageName, by_version, compare_versions

if TYPE_CHECKING:
    from pathlib import Path

    from rig.running import ScratchStore

    from mirror.nix.command import Nix

CASES: Final = 4000
PARTS: Final = (
    *("a", "b", "pre", "rc", "p", "openssh", "é", "_", "+", "?", "=", "~", "\n"),
    *("0", "1", "2", "10", "007", "9", "2147483647", "2147483648", "99999999999"),
    *(".", ".", "-", "-", "--", "-.", ".-"),
)
EXPRESSION: Final = """
let cases = builtins.fromJSON (builtins.readFile FILE); in {
  names = map builtins.parseDrvName cases.names;
  order = map (pair: builtins.compareVersions (builtins.head pair) (builtins.elemAt pair 1))
    cases.pairs;
}
"""


def draw(random: Random) -> str:
    return "".join(random.choice(PARTS) for _ in range(random.randrange(9)))


def test_they_are_split_and_compared_as_by_nix(
    any_nix: Nix, tmp_path: Path, scratch_store: ScratchStore
) -> None:
    random = Random(2026)
    names = [draw(random) for _ in range(CASES)]
    pairs = [(draw(random), draw(random)) for _ in range(CASES)]
    # Two that differ by little say more than two that have nothing in common.
    for start in range(0, CASES, 2):
        common = draw(random)
        pairs[start] = (common + pairs[start][0][:3], common + pairs[start][1][:3])
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps({"names": names, "pairs": pairs}))
    command = ("nix-instantiate", "--eval", "--strict", "--json", "--expr")
    asked = run(any_nix, *command, EXPRESSION.replace("FILE", str(cases)), store=scratch_store)
    answer = json.loads(asked.stdout)
    ours = [PackageName.parse(name)._asdict() for name in names]
    assert ours == answer["names"]
    compared = [compare_versions(one, other) for one, other in pairs]
    wrong = [
        (pair, ours, theirs)
        for pair, ours, theirs in zip(pairs, compared, answer["order"], strict=True)
        if ours != theirs
    ]
    assert not wrong
    assert {-1, 0, 1} == set(compared)


def test_versions_are_sorted() -> None:
    versions = ["10.2p1", "9.9", "2.3", "2.3pre1", "10.10", ""]
    assert sorted(versions, key=by_version) == ["", "2.3pre1", "2.3", "9.9", "10.2p1", "10.10"]
