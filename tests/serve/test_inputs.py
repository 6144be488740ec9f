"""The inputs of flakes as archives: a lock file's hash accepts them, with real Nix."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from rig.running import run
from rig.serving import serve_directory

if TYPE_CHECKING:
    from pathlib import Path

    from rig.bench import Bench

    from mirror.nix.command import Nix

FLAKE = """
{
  inputs.data = { url = "%s"; flake = false; };
  outputs = { self, data }: {
    packages.x86_64-linux.it = derivation {
      name = "it"; system = "x86_64-linux"; builder = "/bin/sh";
      text = import data;
    };
  };
}
"""
ROOT = "packages.x86_64-linux.it.drvPath"


def write_flake(directory: Path, url: str) -> Path:
    directory.mkdir(parents=True)
    (directory / "flake.nix").write_text(FLAKE % url)
    return directory


async def test_a_lock_file_accepts_an_input_from_the_server(bench: Bench, any_nix: Nix) -> None:
    data = bench.directory / "data"
    (data / "directory").mkdir(parents=True)
    (data / "default.nix").write_text('"from data"\n')
    (data / "directory/run").write_text("#!/bin/sh\n")
    (data / "directory/run").chmod(0o755)
    (data / "link").symlink_to("directory/run")
    flake = write_flake(bench.directory / "flake", f"path:{data}")
    await asyncio.to_thread(run, any_nix, "nix", "flake", "lock", f"path:{flake}")
    locked = json.loads((flake / "flake.lock").read_text())["nodes"]["data"]["locked"]
    cache = bench.directory / "cache"
    # What is locked to a directory of this machine is given only where the list says so.
    synced = await bench.sync(any_nix, f"it = path:{flake}#it public=data", cache)
    (known,) = synced.kept[0].inputs
    assert (known.name, known.last_modified) == ("data", locked["lastModified"])
    shutil.rmtree(data)

    async with serve_directory(cache) as served:
        status = json.loads((await served.ask("/status.json", Host=served.url[7:-1])).body)
        (listed,) = status["inputs"]
        assert listed["name"] == "data"
        moved = write_flake(bench.directory / "moved", listed["url"])
        origin = {"type": "tarball", "url": listed["url"]}
        # Nix 2.8 takes the time from the archive alone, a newer one compares it.
        fixed = ("narHash",) if any_nix.version < (2, 19, 0) else ("narHash", "lastModified")
        node = {
            "flake": False,
            "original": origin,
            "locked": {**origin, **{key: locked[key] for key in fixed}},
        }
        lock = {"nodes": {"root": {"inputs": {"data": "data"}}, "data": node}, "root": "root"}
        (moved / "flake.lock").write_text(json.dumps({**lock, "version": 7}))
        fresh = bench.directory / "home"
        stranger = replace(
            any_nix, environment={**any_nix.environment, "XDG_CACHE_HOME": str(fresh)}
        )
        evaluated = await asyncio.to_thread(
            run,
            stranger,
            *("nix", "eval", "--raw", "--no-write-lock-file", f"path:{moved}#{ROOT}"),
            store=bench.empty_store("stranger"),
        )
    assert evaluated.stdout == synced.kept[0].root
