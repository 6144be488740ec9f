"""``plan`` and ``sync`` where the destination is too small: before the start, and on the way."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from rig.published import read_by_nix
from rig.running import instantiate, run
from rig.shell import shell
from rig.small_disk import PAGE, SmallDisk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig.shell import Shell

__all__ = ["shell"]

LACKING: Final = re.compile(
    r"(?P<place>\S+) has \S+ \S?B free, and (?P<subject>this|what is left) needs at least "
    r"\S+ \S?B( and \d+ paths? of unknown size)?(: (?P<more>\S+ \S?B) more)?"
)
GROWTH: Final = 1.2


@pytest.fixture
def disk(shell: Shell) -> Iterator[SmallDisk]:
    with SmallDisk.mount(shell.directory / "disk", "size=1m") as mounted:
        yield mounted


@pytest.fixture(params=["cache", "store"])
def to(request: pytest.FixtureRequest, disk: SmallDisk) -> str:
    """What ``--to`` names, of each kind in turn."""
    place = disk.place / str(request.param)
    return str(place) if request.param == "cache" else f"local?root={place}"


def write_list(shell: Shell, level: str) -> None:
    """A list of one target that takes no evaluating."""
    attribute = "packages.x86_64-linux.curl"
    derivation = instantiate(
        shell.nix, shell.upstream.distribution, attribute, store=shell.evaluation
    )
    shell.write_list(f"it = {derivation.partition('!')[0]} level={level}")


def test_what_cannot_fit_is_said_before_anything_is_fetched(
    shell: Shell, disk: SmallDisk, to: str
) -> None:
    write_list(shell, "full")
    if "?" not in to:
        disk.remount("size=200k")
    words = ("hosts.txt", "--to", to)
    planned = shell.run([*disk.inside, *shell.arguments("plan", *words)]).stdout
    asked = len(shell.upstream.requests)
    refused = shell.run([*disk.inside, *shell.arguments("sync", *words)], expect=3)
    assert not [each for each in shell.upstream.requests[asked:] if "/nar/" in each]
    error, hint = refused.stderr.splitlines()[-2:]
    for text in (planned, error):
        said = LACKING.search(text)
        assert said, text
        assert said["place"].startswith(str(disk.place))
        assert said["subject"] == "this"
        assert said["more"]
    assert error.startswith("error: ")
    assert hint.startswith("  make room there")


def test_a_run_goes_on_once_there_is_room(shell: Shell, disk: SmallDisk, to: str) -> None:
    write_list(shell, "sources")
    sync = [*disk.inside, *shell.arguments("sync", "hosts.txt", "--to", to)]
    planned = shell.json([*shell.arguments("plan", "hosts.txt", "--to", to, "--json")])["totals"]
    size = planned["nar_bytes" if "?" in to else "download_bytes"]
    ends, said = [], ""
    while 0 not in ends:
        size *= GROWTH
        disk.remount(f"size={int(size / PAGE) * PAGE}")
        ended = subprocess.run(
            sync, env=shell.environment(), capture_output=True, text=True, check=False
        )
        ends.append(ended.returncode)
        assert ended.returncode in {0, 3}, ended.stderr
        assert ended.returncode == 0 or "then run again to continue" in ended.stderr
        said += ended.stderr
        look_at(shell, disk, to)
    assert re.search(f"No space left on device: {LACKING.pattern}", said)


def look_at(shell: Shell, disk: SmallDisk, to: str) -> None:
    """Have Nix check all that there is."""
    if "?" not in to:
        if (disk.outside / "cache/nix-cache-info").exists():
            read_by_nix(shell.nix, disk.outside / "cache")
    elif (disk.outside / "store/nix/var/nix/db/db.sqlite").exists():
        verify = ("nix-store", "--store", to, "--verify", "--check-contents")
        run(shell.nix, *verify, before=disk.inside)
