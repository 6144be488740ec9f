"""What a sync keeps is enough to evaluate again, with no network and no cache of Nix's own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from rig.running import collect_garbage, run

if TYPE_CHECKING:
    from pathlib import Path

    from rig.bench import Bench

    from mirror.nix.command import Nix

FLAKE = """
{
  inputs.middle.url = "path:%(middle)s";
  outputs = { self, middle }: {
    packages.x86_64-linux.it = middle.make (import middle.inputs.data);
  };
}
"""
MIDDLE = """
{
  inputs.data = { url = "path:%(data)s"; flake = false; };
  outputs = { self, data }: {
    make = text: derivation {
      name = "it"; system = "x86_64-linux"; builder = "/bin/sh"; inherit text;
      script = ./script.sh;
    };
  };
}
"""


def write_flakes(directory: Path) -> Path:
    """A flake whose input has an input that is no flake, each in a directory of its own."""
    for name in ("flake", "middle", "data"):
        (directory / name).mkdir(parents=True)
    (directory / "data/default.nix").write_text('"from data"\n')
    (directory / "middle/flake.nix").write_text(MIDDLE % {"data": directory / "data"})
    (directory / "middle/script.sh").write_text("echo hello\n")
    (directory / "flake/flake.nix").write_text(FLAKE % {"middle": directory / "middle"})
    return directory / "flake"


def elsewhere(nix: Nix, home: Path) -> Nix:
    """The same Nix as another user has it: no caches, no registry of flakes."""
    directories = {f"XDG_{kind}_HOME": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    return replace(nix, environment={**nix.environment, "HOME": str(home), **directories})


async def test_a_flake_is_evaluated_again_from_what_was_kept_alone(
    bench: Bench, any_nix: Nix
) -> None:
    flake = write_flakes(bench.directory / "sources")
    run(any_nix, "nix", "flake", "lock", f"path:{flake}")
    client = bench.empty_store("client")
    synced = await bench.sync(any_nix, f"path:{flake}#it", client)
    assert synced.is_complete
    again = await bench.sync(any_nix, f"path:{flake}#it", client)
    assert again.unchanged == synced.kept
    collect_garbage(any_nix, client)
    for source in ("middle", "data"):
        shutil.rmtree(bench.directory / "sources" / source)
    said = run(
        elsewhere(any_nix, bench.directory / "home"),
        *("nix", "eval", "--raw", f"path:{flake}#packages.x86_64-linux.it.drvPath"),
        store=client,
        offline=True,
    )
    assert said.stdout == synced.kept[0].root


async def test_without_what_was_kept_it_is_not(bench: Bench, any_nix: Nix) -> None:
    flake = write_flakes(bench.directory / "sources")
    run(any_nix, "nix", "flake", "lock", f"path:{flake}")
    await bench.sync(any_nix, f"path:{flake}#it level=runtime", bench.empty_store("client"))
    shutil.rmtree(bench.directory / "sources/data")
    failed = run(
        elsewhere(any_nix, bench.directory / "home"),
        *("nix", "eval", "--raw", f"path:{flake}#packages.x86_64-linux.it.drvPath"),
        store=bench.empty_store("empty"),
        offline=True,
        check=False,
    )
    assert failed.returncode != 0


async def test_what_import_from_derivation_built_is_kept(bench: Bench, any_nix: Nix) -> None:
    file = bench.directory / "import.nix"
    file.write_text(
        f"let demo = import {bench.upstream.distribution} {{ }}; in\n"
        "{ it = derivation {\n"
        '  name = "it"; system = "x86_64-linux"; builder = "/bin/sh";\n'
        '  text = builtins.readFile "${demo.packages.x86_64-linux.hello}/share/greeting"; }; }\n'
    )
    client = bench.empty_store("client")
    configured = replace(
        any_nix,
        environment={
            **any_nix.environment,
            "NIX_CONFIG": f"{any_nix.environment['NIX_CONFIG']}\n"
            f"substituters = {bench.upstream.cache_url}\n"
            f"trusted-public-keys = {bench.upstream.public_key}",
        },
    )
    synced = await bench.sync(configured, f"it = {file}#it", client)
    (generation,) = synced.kept
    assert any(path.name == "hello-2.12" for path in generation.paths)
    collect_garbage(any_nix, client)
    said = run(
        elsewhere(any_nix, bench.directory / "home"),
        *("nix-instantiate", str(file), "-A", "it"),
        store=client,
        offline=True,
    )
    assert said.stdout.split()[0] == generation.root
