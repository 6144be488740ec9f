"""What is rehearsed is the real thing: built from what was kept, or named for what is wrong."""

from __future__ import annotations

import re
import shutil
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from rig.dev_shells import shell_flake
from rig.evaluated_again import lock, nix_for_builds
from rig.running import ScratchStore, run

from mirror.cli.commands.rehearse import lines as rehearsal_lines
from mirror.destinations import CacheDirectory, NixStore
from mirror.errors import DestinationError, IntegrityError
from mirror.formats.narinfo import parse_narinfo
from mirror.nix.stores import StoreLocation
from mirror.sync.kept.freshness import Rehearsal, rehearsals
from mirror.sync.offline.check import check
from mirror.sync.offline.rehearse import Rehearsed, have_passed, rehearse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rig.bench import Bench

    from mirror.destinations import Destination
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix

LINE = "laptop = DEMO#laptop"
EDITED = f"{LINE} edits=hosts,dnsmasq,wireguard"


@asynccontextmanager
async def opened(nix: Nix, to: Path | ScratchStore) -> AsyncIterator[Destination]:
    """A destination as ``rehearse`` opens it, without its lock."""
    if isinstance(to, ScratchStore):
        async with NixStore.open(nix, StoreLocation.parse(to.url), exclusive=False) as store:
            yield store
    else:
        async with CacheDirectory.open(to, exclusive=False) as cache:
            yield cache


def place(bench: Bench, kind: str) -> Path | ScratchStore:
    return bench.empty_store("client") if kind == "store" else bench.directory / "cache"


async def rehearsed(
    bench: Bench, nix: Nix, to: Path | ScratchStore, text: str
) -> dict[str | None, Rehearsed]:
    """What a rehearsal comes to, after which its scratch store is gone."""
    scratch = bench.directory / "temporary"
    scratch.mkdir(exist_ok=True)
    nix = replace(nix, environment={**nix.environment, "TMPDIR": str(scratch)})
    async with opened(nix, to) as destination:
        found = await rehearse(
            bench.targets(text), nix, bench.recorder, destination, store=bench.evaluation.url
        )
    assert list(scratch.iterdir()) == []
    return {each.edit: each for each in found}


async def is_ready(bench: Bench, nix: Nix, to: Path | ScratchStore, text: str) -> bool:
    """What ``check`` says of the one target."""
    async with opened(nix, to) as destination:
        (checked,) = await check(
            bench.targets(text),
            nix,
            bench.recorder,
            store=bench.evaluation.url,
            destination=destination,
        )
    return checked.is_ready


async def state(nix: Nix, to: Path | ScratchStore) -> Rehearsal:
    """What ``roots`` would say of the one target."""
    async with opened(nix, to) as destination:
        known = rehearsals(await destination.generations(), await destination.receipts())
    (rehearsal,) = known.values()
    return rehearsal


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["cache", "store"])
async def test_what_was_synced_with_its_edits_is_built_from_what_was_kept_alone(
    bench: Bench, any_nix: Nix, kind: str
) -> None:
    to = place(bench, kind)
    synced = await bench.sync(any_nix, EDITED, to)
    assert synced.is_complete
    asked = len(bench.upstream.requests)
    found = await rehearsed(bench, any_nix, to, EDITED)
    assert len(bench.upstream.requests) == asked, "nobody was asked"
    assert all(each.has_passed for each in found.values()), found
    assert sum(each.built for each in found.values()) == len(synced.plan.targets[0].build)
    assert found[None].built > found["dnsmasq"].built > 0
    assert not found["wireguard"].is_applicable
    rehearsal = await state(any_nix, to)
    assert rehearsal.state == "rehearsed"
    assert rehearsal.receipt.root == synced.kept[0].root
    assert rehearsal.receipt.nix_version == any_nix.version_text
    assert rehearsal.receipt.edits["hosts"] is None
    assert str(rehearsal.receipt.edits["wireguard"]).startswith("does not apply: ")


@pytest.mark.timeout(1800)
async def test_an_edit_that_was_not_on_the_list_fails_in_nix_s_own_words(
    bench: Bench, any_nix: Nix
) -> None:
    to = bench.directory / "cache"
    await bench.sync(any_nix, LINE, to)
    found = await rehearsed(bench, any_nix, to, EDITED)
    assert found[None].has_passed
    failed = found["dnsmasq"]
    assert not failed.has_passed
    assert failed.problem is not None
    assert "dnsmasq" in failed.problem.message
    rehearsal = await state(any_nix, to)
    assert rehearsal.state == "failed"
    assert rehearsal.receipt.problem is None


class Damaged(NamedTuple):
    path: StorePath
    file: Path


def flip_a_byte(file: Path) -> None:
    mode = file.stat().st_mode
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    file.chmod(mode)


def damage(to: Path | ScratchStore, path: StorePath) -> None:
    """Flip a byte of what is kept of a path."""
    if isinstance(to, ScratchStore):
        real = to.real(path)
        flip_a_byte(
            real if real.is_file() else next(each for each in real.rglob("*") if each.is_file())
        )
    else:
        flip_a_byte(to / parse_narinfo((to / f"{path.hash_part}.narinfo").read_bytes()).url)


@pytest.mark.parametrize("kind", ["cache", "store"])
async def test_a_damaged_path_fails_and_is_named(bench: Bench, any_nix: Nix, kind: str) -> None:
    to = place(bench, kind)
    (generation,) = (await bench.sync(any_nix, LINE, to)).kept
    victims = [path for path in generation.paths if path.name in {"gettext-0.21", "hello-2.12"}]
    assert victims
    for path in victims:
        damage(to, path)
    found = await rehearsed(bench, any_nix, to, LINE)
    problem = found[None].problem
    assert isinstance(problem, IntegrityError)
    assert all(path in problem.message for path in victims)
    assert problem.hint is not None
    assert re.match("prefetch verify '?[^']+'? --repair ", problem.hint)
    others = [path for path in generation.paths if path in problem.message]
    assert others == victims
    rehearsal = await state(any_nix, to)
    assert rehearsal.state == "failed"
    assert rehearsal.receipt.problem == problem.message


async def test_what_a_cache_lost_is_named(bench: Bench, nix_stable: Nix) -> None:
    to = bench.directory / "cache"
    (generation,) = (await bench.sync(nix_stable, LINE, to)).kept
    lost = generation.paths[3]
    (to / f"{lost.hash_part}.narinfo").unlink()
    problem = (await rehearsed(bench, nix_stable, to, LINE))[None].problem
    assert isinstance(problem, IntegrityError)
    assert lost in problem.message


async def test_without_a_generation_it_is_said_how_to_make_one(
    bench: Bench, nix_stable: Nix
) -> None:
    found = await rehearsed(bench, nix_stable, bench.directory / "cache", LINE)
    problem = found[None].problem
    assert problem is not None
    assert "laptop" in problem.message
    assert "prefetch sync" in str(problem.hint)


@pytest.mark.parametrize("kind", ["cache", "store"])
async def test_what_this_machine_does_not_build_for_is_not_tried(
    bench: Bench, nix_stable: Nix, kind: str
) -> None:
    to = place(bench, kind)
    await bench.sync(nix_stable, "pi = DEMO#pi", to)
    found = await rehearsed(bench, nix_stable, to, "pi = DEMO#pi")
    assert not found[None].has_passed
    assert str(found[None].problem).startswith("it is for aarch64-linux, and this machine builds")
    first, second = rehearsal_lines(found.values())
    assert first == f"pi: left out, {found[None].problem}"
    assert "extra-platforms" in second
    assert not have_passed([*found.values()])
    async with opened(nix_stable, to) as destination:
        assert await destination.receipts() == []


async def test_too_little_room_is_said_before_anything_is_copied(
    bench: Bench, nix_stable: Nix, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = bench.directory / "cache"
    (generation,) = (await bench.sync(nix_stable, LINE, to)).kept

    def nearly_full(_: Path) -> Any:
        return shutil._ntuple_diskusage(1 << 40, 1 << 40, generation.nar_bytes - 1_234)

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    with pytest.raises(DestinationError, match="1,234 more") as raised:
        await rehearsed(bench, nix_stable, to, LINE)
    assert "TMPDIR" in str(raised.value.hint)


async def test_a_receipt_that_cannot_be_kept_costs_no_rehearsal(
    bench: Bench, nix_stable: Nix
) -> None:
    to = bench.directory / "cache"
    await bench.sync(nix_stable, LINE, to)
    (to / "receipts").touch()
    assert (await rehearsed(bench, nix_stable, to, LINE))[None].has_passed
    assert any("cannot be kept" in notice for notice in bench.recorder.notices)


FLAKE = """
{
  outputs = { self }: {
    packages.x86_64-linux.it = derivation {
      name = "it"; system = "x86_64-linux"; builder = "/bin/sh"; number = "1";
    };
  };
}
"""


async def test_a_receipt_goes_stale_with_the_lock_file_and_with_another_generation(
    bench: Bench, nix_stable: Nix
) -> None:
    flake = bench.directory / "flake"
    flake.mkdir()
    (flake / "flake.nix").write_text(FLAKE)
    line = f"it = path:{flake}#it"
    to = bench.directory / "cache"
    await bench.sync(nix_stable, line, to)
    # It cannot be built: its builder is nowhere. That is a failure, and a receipt, too.
    await rehearsed(bench, nix_stable, to, line)
    first = await state(nix_stable, to)
    assert first.receipt.lock_file == flake / "flake.lock"
    assert first.state == "failed"
    (flake / "flake.lock").write_text('{ "nodes": { "root": {} }, "root": "root", "version": 7 }\n')
    assert (await state(nix_stable, to)).state == "stale"
    (flake / "flake.lock").unlink()
    assert (await state(nix_stable, to)).state == "failed"
    (flake / "flake.nix").write_text(FLAKE.replace('"1"', '"2"'))
    await bench.sync(nix_stable, line, to)
    assert (await state(nix_stable, to)).state == "stale"


async def test_a_derivation_that_is_a_target_itself_is_built(bench: Bench, nix_stable: Nix) -> None:
    to = bench.directory / "cache"
    (generation,) = (await bench.sync(nix_stable, LINE, to)).kept
    line = f"it = {generation.root}"
    await bench.sync(nix_stable, line, to)
    assert (await rehearsed(bench, nix_stable, to, line))[None].has_passed


MIDDLE = """
{
  inputs.data = { url = "path:%s"; flake = false; };
  outputs = { self, data }: { text = import data; };
}
"""
OUTER = """
{
  inputs.middle.url = "path:%s";
  inputs.demo.url = "path:%s";
  outputs = { self, middle, demo }: {
    nixosConfigurations = demo.nixosConfigurations;
    inherit (middle) text;
  };
}
"""


async def test_a_flake_whose_inputs_are_gone_rehearses(bench: Bench, any_nix: Nix) -> None:
    sources = bench.directory / "sources"
    for name in ("outer", "middle", "data"):
        (sources / name).mkdir(parents=True)
    shutil.copytree(bench.upstream.distribution, sources / "demo")
    (sources / "data/default.nix").write_text('"from data"\n')
    (sources / "middle/flake.nix").write_text(MIDDLE % (sources / "data"))
    (sources / "outer/flake.nix").write_text(OUTER % (sources / "middle", sources / "demo"))
    run(any_nix, "nix", "flake", "lock", f"path:{sources}/outer", store=bench.evaluation)
    line = f"laptop = path:{sources}/outer#laptop edits=hosts"
    to = bench.directory / "cache"
    assert (await bench.sync(any_nix, line, to)).is_complete
    for name in ("middle", "data", "demo"):
        shutil.rmtree(sources / name)
    found = await rehearsed(bench, any_nix, to, line)
    assert all(each.has_passed for each in found.values()), found
    rehearsal = await state(any_nix, to)
    assert rehearsal.state == "rehearsed"
    assert rehearsal.receipt.lock_hash is not None
    lock = sources / "outer/flake.lock"
    lock.write_text(lock.read_text() + "\n")
    assert (await state(any_nix, to)).state == "stale"


IMPORTING = """
let
  demo = import %s { };
  inherit (demo.packages.x86_64-linux) busybox hello;
in
{ it = derivation {
  name = "it"; system = "x86_64-linux";
  said = builtins.readFile "${hello}/share/greeting";
  builder = "${busybox}/bin/sh";
  args = [ "-c" "echo $said > $out" ]; }; }
"""


async def test_import_from_derivation_rehearses(bench: Bench, any_nix: Nix) -> None:
    file = bench.directory / "importing.nix"
    file.write_text(IMPORTING % bench.upstream.distribution)
    settings = any_nix.environment["NIX_CONFIG"]
    settings += f"\nsubstituters = {bench.upstream.cache_url}"
    settings += f"\ntrusted-public-keys = {bench.upstream.public_key}"
    nix = replace(any_nix, environment={**any_nix.environment, "NIX_CONFIG": settings})
    to = bench.directory / "cache"
    await bench.sync(nix, f"it = {file}#it", to)
    found = await rehearsed(bench, nix, to, f"it = {file}#it")
    assert found[None].has_passed, found
    assert found[None].built == 1


FETCHING = """
let demo = import %s { }; in
{ it = demo.pkgs.stdenv.runCommandLocal "it" {
  text = builtins.attrNames (builtins.readDir (fetchTarball %s));
} ''echo $text >$out''; }
"""


async def test_what_is_fetched_without_a_hash_fails_and_is_said_to(
    bench: Bench, any_nix: Nix
) -> None:
    url = f"{bench.upstream.origin_url}/files/hello-2.12.tar.gz"
    said = run(any_nix, "nix-prefetch-url", "--unpack", url, store=bench.empty_store("other"))
    file = bench.directory / "it.nix"
    to = bench.directory / "cache"
    line = f"it = {file}#it"
    # Nix has downloaded it, and remembers: here it can be evaluated without a network.
    file.write_text(FETCHING % (bench.upstream.distribution, f'"{url}"'))
    assert (await bench.sync(any_nix, line, to)).is_complete
    problem = (await rehearsed(bench, any_nix, to, line))[None].problem
    assert problem is not None
    assert url in problem.message
    assert "give fetchTarball, fetchurl and their like a sha256" in str(problem.hint)
    fixed = f'{{ url = "{url}"; sha256 = "{said.stdout.strip()}"; }}'
    file.write_text(FETCHING % (bench.upstream.distribution, fixed))
    assert (await bench.sync(any_nix, line, to)).is_complete
    assert (await rehearsed(bench, any_nix, to, line))[None].has_passed


async def test_a_dev_shell_is_entered_from_what_was_kept_alone(bench: Bench, any_nix: Nix) -> None:
    nix = await nix_for_builds(any_nix, bench.directory)
    top, nixpkgs = shell_flake(bench.directory)
    lock(nix, top, bench.evaluation)
    line = f"shell = path:{top}#default"
    to = bench.directory / "cache"
    (generation,) = (await bench.sync(nix, line, to)).kept
    shutil.rmtree(nixpkgs)
    # The shell itself cannot be built, as that of nixpkgs could not for long.
    found = await rehearsed(bench, nix, to, line)
    assert found[None].has_passed, found
    assert found[None].built == 1, "its tools"
    assert (await state(nix, to)).state == "rehearsed"
    assert await is_ready(bench, nix, to, line)
    (bash,) = [path for path in generation.paths if path.name == "bash"]
    (to / f"{bash.hash_part}.narinfo").unlink()
    assert not (await rehearsed(bench, nix, to, line))[None].has_passed
    assert not await is_ready(bench, nix, to, line)


async def test_a_dev_shell_that_nix_cannot_enter_fails_although_it_could_be_built(
    bench: Bench, nix_stable: Nix
) -> None:
    line = "shell = DEMO#default"
    to = bench.directory / "cache"
    await bench.sync(nix_stable, line, to)
    problem = (await rehearsed(bench, nix_stable, to, line))[None].problem
    assert problem is not None
    assert "'bash'" in problem.message
