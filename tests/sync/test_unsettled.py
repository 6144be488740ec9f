"""What a refresh that was killed leaves, and how the next run finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mirror.errors import LockedError
from mirror.sync.refresh.unsettled import held_note, put_back_interrupted

if TYPE_CHECKING:
    from pathlib import Path

    from rig.bench import Bench

    from mirror.nix.command import Nix


@pytest.fixture
def file(tmp_path: Path) -> Path:
    directory = tmp_path / "flake"
    directory.mkdir()
    (directory / "flake.nix").touch()
    return directory / "flake.lock"


async def said_of(file: Path, bench: Bench, nix: Nix) -> list[str]:
    bench.recorder.notices.clear()
    await put_back_interrupted(bench.targets(f"it = path:{file.parent}#it"), nix, bench.recorder)
    return list(bench.recorder.notices)


@pytest.mark.parametrize("before", [None, b"old", b"no text: \xff"])
async def test_what_a_killed_refresh_made_is_put_back_once(
    file: Path, bench: Bench, nix_stable: Nix, before: bytes | None
) -> None:
    with held_note(nix_stable, file) as note:
        note.write(before)
        file.write_bytes(b"new")
        note.write(before, after=b"new")
        assert await said_of(file, bench, nix_stable) == [], "that run is still there"
        assert file.read_bytes() == b"new"
    (said,) = await said_of(file, bench, nix_stable)
    assert said == f"an earlier refresh of {file} was interrupted: it was put back"
    assert (file.read_bytes() if file.exists() else None) == before
    assert await said_of(file, bench, nix_stable) == []


@pytest.mark.parametrize("after", [None, b"new"])
async def test_what_may_be_somebody_elses_is_left(
    file: Path, bench: Bench, nix_stable: Nix, after: bytes | None
) -> None:
    with held_note(nix_stable, file) as note:
        note.write(b"old", after=after)
    file.write_bytes(b"the user's own")
    (said,) = await said_of(file, bench, nix_stable)
    assert said.endswith("was interrupted: it has changed since, and is left as it is")
    assert file.read_bytes() == b"the user's own"
    assert await said_of(file, bench, nix_stable) == []


async def test_nothing_is_said_where_nothing_was_changed(
    file: Path, bench: Bench, nix_stable: Nix
) -> None:
    file.write_bytes(b"old")
    with held_note(nix_stable, file) as note:
        note.write(b"old")
    assert await said_of(file, bench, nix_stable) == []
    assert not note.place.exists()


def test_one_run_at_a_time_refreshes_a_file(file: Path, nix_stable: Nix) -> None:
    with (
        held_note(nix_stable, file),
        pytest.raises(LockedError, match="another run"),
        held_note(nix_stable, file),
    ):
        pass
