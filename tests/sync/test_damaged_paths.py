"""What is damaged at the destination is named, blamed on nobody else, and obtained again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rig.published import read_by_nix

if TYPE_CHECKING:
    from pathlib import Path

    from rig.bench import Bench

    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix

LINE: Final = "it = DEMO#laptop"


def narinfo_of(cache: Path, path: StorePath) -> Path:
    return cache / f"{path.hash_part}.narinfo"


def nar_of(cache: Path, path: StorePath) -> Path:
    found = re.search(r"^URL: (.+)$", narinfo_of(cache, path).read_text(), re.MULTILINE)
    assert found is not None
    return cache / found[1]


def alter_reference(cache: Path, path: StorePath) -> Path:
    """Change one character of a reference; the file stays a narinfo."""
    file = narinfo_of(cache, path)
    text = file.read_text()
    start = text.index("References: ") + len("References: ")
    changed = "0" if text[start] != "0" else "1"
    file.write_text(text[:start] + changed + text[start + 1 :])
    return file


def drop_references(cache: Path, path: StorePath) -> Path:
    file = narinfo_of(cache, path)
    file.write_text(re.sub(r"References: .*", "References: ", file.read_text()))
    return file


def empty(cache: Path, path: StorePath) -> Path:
    file = narinfo_of(cache, path)
    file.write_bytes(b"")
    return file


def cut_nar(cache: Path, path: StorePath) -> Path:
    file = nar_of(cache, path)
    file.write_bytes(file.read_bytes()[:-1])
    return file


def remove_nar(cache: Path, path: StorePath) -> Path:
    file = nar_of(cache, path)
    file.unlink()
    return file


DAMAGES: Final = (alter_reference, drop_references, empty, cut_nar, remove_nar)


async def damage_some(bench: Bench, nix: Nix, cache: Path) -> dict[StorePath, Path]:
    """Sync the laptop, and damage some paths with references, each in another way."""
    synced = await bench.sync(nix, LINE, cache)
    assert synced.is_complete
    found = [each for each in synced.plan.substitute if each.offer.info.references]
    damages = zip(DAMAGES, found[: len(DAMAGES)], strict=True)
    return {each.path: damage(cache, each.path) for damage, each in damages}


async def test_what_is_damaged_is_named_and_obtained_again(bench: Bench, nix_stable: Nix) -> None:
    cache = bench.directory / "cache"
    damaged = await damage_some(bench, nix_stable, cache)
    again = await bench.sync(nix_stable, LINE, cache)
    assert again.is_complete
    stored = {each.path: each for each in again.outcomes if each.result == "stored"}
    assert stored.keys() == damaged.keys()
    for path, file in damaged.items():
        assert stored[path].attempts[0].source == str(cache)
        assert f"{file} is damaged" in stored[path].attempts[0].error
    (notice,) = [each for each in bench.recorder.notices if "is damaged" in each]
    assert str(damaged[min(damaged)]) in notice
    assert "4 more paths" in notice
    read_by_nix(nix_stable, cache)
    third = await bench.sync(nix_stable, LINE, cache)
    assert {each.result for each in third.outcomes} == {"held"}


async def test_what_nobody_has_any_more_is_blamed_on_the_damage(
    bench: Bench, nix_stable: Nix
) -> None:
    cache = bench.directory / "cache"
    damaged = await damage_some(bench, nix_stable, cache)
    again = await bench.sync(nix_stable, LINE, cache, substituters=(), builder=False)
    assert not again.is_complete
    reasons = {each.path: each.reason for each in again.plan.unobtainable}
    async with bench.destination(nix_stable, cache) as destination:
        (record,) = await destination.run_records()
    assert not record.is_complete
    for path, file in damaged.items():
        assert reasons[path].startswith(f"{file} is damaged: ")
        assert f"`prefetch verify {cache} --repair`" in reasons[path]
        assert path in again.kept[0].missing
        assert any(str(file) in problem for problem in record.problems)
