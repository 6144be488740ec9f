"""``prefetch probe URL INSTALLABLE``: what it says is copied and built, Nix copies and builds."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.request
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import pytest
from rig.bench import bench
from rig.client_machine import machine
from rig.running import DryRun, parse_dry_run, run
from rig.servers import Server
from rig.serving import serve_directory

from mirror.nix.derivations import read_closure
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rig.bench import Bench
    from rig.client_machine import ClientMachine

    from mirror.formats.store_path import StorePath

__all__ = ["bench", "machine"]


@dataclass
class Mirrored:
    """A mirror of the demo's laptop, and a client of it; ``lines`` are the right settings."""

    bench: Bench
    machine: ClientMachine
    cache: Path
    url: str
    root: StorePath

    @property
    def use(self) -> str:
        return f"extra-substituters = {self.url}"

    @property
    def keys(self) -> str:
        return f"extra-trusted-public-keys = {self.bench.upstream.public_key}"

    async def has_derivation(self) -> None:
        copy = ("nix", "copy", "--derivation", "--no-check-sigs")
        stores = ("--from", self.bench.evaluation.url, "--to", self.machine.store.url)
        await asyncio.to_thread(run, self.machine.nix, *copy, *stores, self.root)

    async def probe(self, *installables: str, expect: int) -> Any:
        words = installables or (self.root,)
        return await self.machine.document(self.url, *words, expect=expect)

    async def dry_run(self, *command: str) -> DryRun:
        words = command or ("nix-store", "--realise", "--dry-run", self.root)
        said = await self.machine.shell(" ".join(words))
        assert said.returncode == 0, said.stderr
        return parse_dry_run(said.stderr)


@pytest.fixture
async def mirrored(bench: Bench, machine: ClientMachine, tmp_path: Path) -> AsyncIterator[Mirrored]:
    cache = tmp_path / "cache"
    synced = await bench.sync(machine.nix, "laptop = DEMO#laptop", cache)
    async with serve_directory(cache) as served:
        root = synced.plan.targets[0].root
        yield Mirrored(bench, machine, cache, served.url.rstrip("/"), root)


def expect_nix_own(found: Any, said: DryRun) -> None:
    assert {each["path"] for each in found["copy"]} == said.substitute
    assert set(found["build"]) == said.build
    assert set(found["unknown"]) == said.unknown


async def test_with_the_right_settings_it_is_a_dry_run(mirrored: Mirrored) -> None:
    machine = mirrored.machine
    machine.configure(mirrored.use, mirrored.keys)
    await mirrored.has_derivation()
    document = await mirrored.probe(expect=0)
    (found,) = document["installables"]
    expect_nix_own(found["now"], await mirrored.dry_run())
    assert len(found["now"]["copy"]) > 10
    assert len(found["now"]["build"]) > 10
    assert {each["from"] for each in found["now"]["copy"]} == {mirrored.url}
    assert all(each["download_bytes"] for each in found["now"]["copy"])
    assert found["mended"] is None
    # A flake is evaluated, and several may be asked for.
    flake = f"path:{mirrored.bench.upstream.distribution}#laptop"
    output = found["now"]["copy"][0]["path"]
    document = await mirrored.probe(flake, output, f"{mirrored.root}^*", expect=0)
    of_flake, of_path, of_outputs = (each["now"] for each in document["installables"])
    assert of_flake == of_outputs == found["now"]
    attribute = flake.replace("#laptop", "#nixosConfigurations.laptop.config.system.build.toplevel")
    build = ("nix", "--extra-experimental-features", "'nix-command flakes'", "build", "--dry-run")
    expect_nix_own(of_flake, await mirrored.dry_run(*build, f"'{attribute}'"))
    expect_nix_own(of_path, await mirrored.dry_run("nix-store", "--realise", "--dry-run", output))


async def test_without_a_line_it_is_said_what_happens_now_and_with_it(
    mirrored: Mirrored,
) -> None:
    machine = mirrored.machine
    await mirrored.has_derivation()
    alone = await mirrored.dry_run()
    machine.configure(mirrored.use, mirrored.keys)
    served = await mirrored.dry_run()
    machine.configure()
    (found,) = (await mirrored.probe(expect=1))["installables"]
    expect_nix_own(found["now"], alone)
    expect_nix_own(found["mended"], served)
    said = await machine.probe(mirrored.url, mirrored.root, expect=1)
    assert f"with the settings as they are: 0 paths to copy, {len(alone.build)} deriv" in said
    assert f"with what is lacking: {len(served.substitute)} paths to copy" in said
    # Without the key, Nix takes what needs no signature, although a dry run says otherwise.
    machine.configure(mirrored.use)
    assert await mirrored.dry_run() == served
    (found,) = (await mirrored.probe(expect=1))["installables"]
    expect_nix_own(found["mended"], served)
    shutil.copytree(mirrored.cache, machine.directory / "unsigned")
    for file in (machine.directory / "unsigned").glob("*.narinfo"):
        if "\nCA: " not in file.read_text():
            file.unlink()
    machine.configure(f"substituters = file://{machine.directory}/unsigned")
    expect_nix_own(found["now"], await mirrored.dry_run())
    refused = {each["path"] for each in found["now"]["refused"]}
    assert refused
    assert {name for each in found["now"]["refused"] for name in each["signers"]} == {
        mirrored.bench.upstream.public_key.partition(":")[0]
    }


@pytest.mark.parametrize("name", ["libbase-1.2", "hello-2.12"])
async def test_what_the_mirror_lacks_comes_from_elsewhere_or_is_built(
    mirrored: Mirrored, name: str
) -> None:
    machine, upstream = mirrored.machine, mirrored.bench.upstream
    machine.configure(mirrored.use, mirrored.keys)
    await mirrored.has_derivation()
    said = await mirrored.dry_run()
    lacking = next(path for path in said.substitute if path.endswith(f"-{name}"))
    hash_part = lacking.removeprefix("/nix/store/")[:32]
    (mirrored.cache / f"{hash_part}.narinfo").unlink()
    alone = await mirrored.dry_run()
    assert alone != said
    (found,) = (await mirrored.probe(expect=int(bool(alone.unknown))))["installables"]
    expect_nix_own(found["now"], alone)
    machine.configure(f"{mirrored.use} {upstream.cache_url}", mirrored.keys)
    (found,) = (await mirrored.probe(expect=0))["installables"]
    expect_nix_own(found["now"], said)
    assert await mirrored.dry_run() == said
    copied = {each["path"]: each["from"] for each in found["now"]["copy"]}
    assert copied[lacking] == upstream.cache_url
    assert {*copied.values()} == {mirrored.url, upstream.cache_url}


async def test_a_mirror_that_is_away_counts_as_empty(mirrored: Mirrored) -> None:
    machine = mirrored.machine
    await mirrored.has_derivation()
    alone = await mirrored.dry_run()
    async with Server() as server:
        away = server.url
    machine.configure(f"extra-substituters = {away}", mirrored.keys)
    for known in (mirrored.root, f"/nix/store/{'0' * 32}-nowhere.drv"):
        document = await machine.document(away, known, expect=1)
        (found,) = document["installables"]
        if known == mirrored.root:
            expect_nix_own(found["now"], alone)
        else:
            assert found["now"]["unknown"] == [known]
        assert found["mended"] is None
        assert any(away in each for each in document["absent"])


async def test_a_derivation_that_is_on_the_mirror_alone_is_copied_from_there(
    mirrored: Mirrored,
) -> None:
    machine = mirrored.machine
    (found,) = (await mirrored.probe(expect=1))["installables"]
    assert found["now"]["unknown"] == [mirrored.root]
    machine.configure(mirrored.use, mirrored.keys)
    (found,) = (await mirrored.probe(expect=0))["installables"]
    done = await machine.shell(f"nix-store --realise {mirrored.root}")
    assert done.returncode == 0, done.stderr
    store = StoreLocation.parse(machine.store.url)
    derivations = read_closure(store, [mirrored.root])
    made = {path for each in found["now"]["build"] for path in derivations[each].output_paths()}
    copied = {each["path"] for each in found["now"]["copy"]}
    there = await machine.shell("nix --extra-experimental-features nix-command path-info --all")
    assert set(there.stdout.split()) == copied | made
    (found,) = (await mirrored.probe(expect=0))["installables"]
    assert (found["now"]["copy"], found["now"]["build"]) == ([], [])


async def test_a_machine_without_prefetch_is_told_by_two_lines_of_the_page(
    mirrored: Mirrored,
) -> None:
    machine = mirrored.machine
    page = await asyncio.to_thread(read, f"{mirrored.url}/")
    document = json.loads(await asyncio.to_thread(read, f"{mirrored.url}/status.json"))
    (host,) = document["hosts"]
    lines = host["client"]["look"]
    assert f"<pre>{escape(lines)}</pre>" in page
    assert lines.count("\n") == 1
    key = mirrored.bench.upstream.public_key
    for settings, lacking in (
        ((), [mirrored.url, key]),
        ((f"extra-substituters = {mirrored.url[:-1]}", mirrored.keys), [mirrored.url]),
        ((f"extra-substituters = {mirrored.url}/?priority=7",), [key]),
        ((mirrored.use, mirrored.keys), []),
    ):
        machine.configure(*settings)
        said = await machine.shell(lines)
        assert said.returncode == 0, said.stderr
        assert said.stdout.splitlines() == [f"lacking: {each}" for each in lacking]
    (found,) = (await mirrored.probe(expect=0))["installables"]
    expect_nix_own(found["now"], parse_dry_run(said.stderr))


def read(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        text: str = answer.read().decode()
    return text
